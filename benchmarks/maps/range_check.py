"""Whether `phosphene doctor` finds the input conventions of the eight zoo networks when they are hidden from it.

`python -m benchmarks.maps.range_check` prints the tables of docs/range-check.md; about ten minutes on two cores.
"""

import sys
from collections.abc import Iterator

import torch

from benchmarks.common import NETWORKS, SHARED, hardware, images, keep, network, table
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.metrics.conventions import common_conventions
from phosphene.metrics.norm_statistics import natural_noise
from phosphene.metrics.range_check import check_range
from phosphene.metrics.range_doubt import range_doubt
from phosphene.samples.labelled import load_labelled
from phosphene.samples.pool import make_pool

RESNETS = tuple(f"cifar_resnet{depth}" for depth in (20, 32, 44, 56))
PICTURES = 64
RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def hidden(own: Classifier, **space: "tuple[float, ...]") -> Classifier:
    """Return the network with another declared input: [0, 1] unless told otherwise."""
    return Classifier(own.module, size=own.input.size, labels=own.labels, name=own.name, **(RAW | space))


def rows(name: str) -> Iterator[list[str]]:
    """Yield a line for labels, natural pictures without, and noise."""
    own = network(name)
    true = common_conventions(own.input)[0]
    where = str(SHARED / "data" / "cifar10" / "test.parquet") if name in RESNETS else images()
    pixels, truth = load_labelled(where, own.input.shape, own.labels, PICTURES)
    noise = natural_noise(PICTURES, own.input.shape)
    tries = {"natural, labels": (pixels.float() / 255, truth), "natural": (pixels.float() / 255, None)}
    for kind, (pictures, known) in {**tries, "noise": (noise, None)}.items():
        with Engine(hidden(own)) as engine:
            found = check_range(engine, pictures, known, natural=kind != "noise")
        best = found.best
        right = best is not None and (best.name, best.order) == (true.name, "RGB")
        yield [
            name,
            kind,
            str(best) if best and found.evidence else "-",
            "yes" if right else "no" if found.evidence else "cannot tell",
            "; ".join(map(str, found.rivals)) or "-",
            ", ".join(found.evidence) or "-",
            found.verdict + " than the declared [0, 1]" * (found.verdict == "another fits"),
        ]


def warnings(name: str) -> list[str]:
    """Return what the cheap check says of the true convention and of wrong ones, without and with natural samples."""
    own = network(name)
    where = str(SHARED / "data" / "cifar10" / "test.parquet") if name in RESNETS else images()
    pool = make_pool(load_labelled(where, own.input.shape, own.labels, PICTURES)[0], where)
    line = [name]
    for one in common_conventions(own.input):
        if one.order == "RGB":
            wrong = hidden(own, mean=one.mean, std=one.std)
            said = ["warns" if range_doubt(wrong, samples) else "silent" for samples in (None, pool)]
            line.append(" / ".join(said) + (" (true)" if one.declared else ""))
    return line


def main() -> None:
    """Print and keep both tables."""
    names = [*RESNETS, *NETWORKS]
    lines = []
    for name in names:
        lines += rows(name)
        print(name, file=sys.stderr)
    head = ["network", "pictures", "picks", "right", "cannot be told from it", "by", "verdict"]
    print(hardware(), table(head, lines), sep="\n\n")
    doubts = [warnings(name) for name in names]
    print()
    for group in (RESNETS, NETWORKS):
        shown = [str(one) for one in common_conventions(network(group[0]).input) if one.order == "RGB"]
        print(table(["network", *shown], [line for line in doubts if line[0] in group]), end="\n\n")
    keep("range_check", {"pictures": PICTURES, "rows": lines, "warnings": doubts})


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
