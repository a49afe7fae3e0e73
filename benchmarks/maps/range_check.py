"""Does `phosphene doctor` find the input conventions of eight networks? `python -m benchmarks.maps.range_check`.

The conventions of the zoo's networks are hidden from the check: every network is declared to take [0, 1]. Prints the
tables of docs/range-check-results.md; about ten minutes on two cores.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import (
    CIFAR10_TEST,
    NETWORKS,
    PHOTOGRAPHS,
    hardware,
    markdown_table,
    network,
    write_result,
)
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.metrics.conventions import common_conventions
from phosphene.metrics.norm_statistics import natural_noise
from phosphene.metrics.range_check import check_range, range_doubt
from phosphene.samples import load_samples
from phosphene.samples.labelled import load_labelled

RESNETS = tuple(f"cifar_resnet{depth}" for depth in (20, 32, 44, 56))
SAMPLES = 64
UNIT_RANGE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # [0, 1]


def declared(own: Classifier, **space: "tuple[float, ...]") -> Classifier:
    """Return the network with another declared input convention, [0, 1] by default."""
    return Classifier(own.module, size=own.input.size, labels=own.labels, name=own.name, **(UNIT_RANGE | space))


def natural_samples(name: str) -> str:
    """Return the spec of photographs of the kind that a network was trained on."""
    return CIFAR10_TEST if name in RESNETS else PHOTOGRAPHS


def rows(name: str) -> Iterator[list[str]]:
    """Yield a row each for labelled photographs, photographs without labels, and noise."""
    own = network(name)
    truth = common_conventions(own.input)[0]
    pixels, labels = load_labelled(natural_samples(name), own.input.shape, own.labels, SAMPLES)
    photographs, noise = pixels.float() / 255, natural_noise(SAMPLES, own.input.shape)
    for kind, samples in {"natural, labels": photographs, "natural": photographs, "noise": noise}.items():
        with Engine(declared(own)) as engine:
            result = check_range(engine, samples, labels if "labels" in kind else None, natural=kind != "noise")
        best = result.best
        right = best is not None and (best.name, best.order) == (truth.name, "RGB")
        yield [
            name,
            kind,
            str(best) if best and result.evidence else "-",
            "yes" if right else "no" if result.evidence else "cannot tell",
            "; ".join(map(str, result.rivals)) or "-",
            ", ".join(result.evidence) or "-",
            result.verdict + " than the declared [0, 1]" * (result.verdict == "another fits"),
        ]


def warnings(name: str) -> list[str]:
    """Return whether the quick check warns of each convention, without and with natural samples, without labels."""
    own, cells = network(name), [name]
    pixels, _ = load_labelled(natural_samples(name), own.input.shape, own.labels, SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.npy"  # of pixels alone: with labels, accuracy would decide
        np.save(file, pixels.numpy())
        pool = load_samples(file, own.input.shape)
        for convention in common_conventions(own.input):
            if convention.order == "RGB":
                tried = declared(own, mean=convention.mean, std=convention.std)
                results = ["warns" if range_doubt(tried, one) else "silent" for one in (None, pool)]
                cells.append(" / ".join(results) + (" (true)" if convention.declared else ""))
    return cells


def main() -> None:
    """Print and write both tables."""
    names = [*RESNETS, *NETWORKS]
    checks = []
    for name in names:
        checks += rows(name)
        print(name, file=sys.stderr)
    head = ["network", "samples", "picks", "right", "equally likely", "by", "verdict"]
    print(hardware(), markdown_table(head, checks), sep="\n\n", end="\n\n")
    warned = [warnings(name) for name in names]
    for group in (RESNETS, NETWORKS):
        conventions = [str(one) for one in common_conventions(network(group[0]).input) if one.order == "RGB"]
        print(markdown_table(["network", *conventions], [row for row in warned if row[0] in group]), end="\n\n")
    write_result("range_check", {"samples": SAMPLES, "rows": checks, "warnings": warned})


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
