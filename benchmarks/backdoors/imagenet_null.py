"""Clean ImageNet networks for the scan's null model: `python -m benchmarks.backdoors.imagenet_null [--only NAME ...]`.

The six of the zoo as they are, and copies of each that were fine-tuned without any trigger, in several ways. Each is measured
by photographs, as a scan does it, and once: to measure one again, take it out of the result. Copies are cached below
runs/backdoor/imagenet-null and are not committed: the weights derive from those of others. Writes
benchmarks/results/imagenet-null.json and a table of docs/imagenet-trojan.md; `python -m benchmarks.backdoors.null` adds the
networks to the null model.
"""

import argparse
import copy
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.backdoors.attacks import prune
from benchmarks.backdoors.scanning import scan_code
from benchmarks.common import DOCS, PHOTOGRAPHS, RESULTS, ROOT, markdown_table, network, write_result, write_section
from phosphene.backdoor.measure import ScanEngine, measure
from phosphene.backdoor.null import CleanNetwork, Null
from phosphene.backdoor.plant import accuracy
from phosphene.backdoor.scan import clean_network
from phosphene.backdoor.training import Change, Labelled, Schedule, fit
from phosphene.classifier import Classifier
from phosphene.samples import load_samples

NAME, DATA, PAGE = "imagenet-null", "imagenet", DOCS / "imagenet-trojan.md"
FOLDER = ROOT / "runs" / "backdoor" / NAME
HELD_OUT = 250  # whole classes: there is one photograph per class
LEAST_ACCURACY = 0.4  # a copy that is right on less is not counted
KEPT = Schedule(steps=200, batch=24, lr=1e-4, optimiser="adam", distil=10.0, anchor=30.0, shift=8, freeze_norms=True)
FREE = replace(KEPT, lr=3e-5, distil=0.0, anchor=0.0)
# How a copy is trained: close to the original's answers and weights, as trojaned copies are; on labels alone; with noise on
# the samples; with half of them grey; or with a part of its weights set to zero.
SCHEDULES = {
    "kept": KEPT,
    "labels": FREE,
    "noise": replace(KEPT, anchor=0.0),
    "grey": replace(KEPT, anchor=0.0),
    "pruned": KEPT,
}
NOISE, PRUNED = 0.1, 0.1


@dataclass(frozen=True)
class Copy:
    """A clean network: one of the zoo as it is, or a copy that was fine-tuned.

    Attributes:
        base: Name of the network in the zoo.
        training: A key of :data:`SCHEDULES`; empty for the network as it is.
        seed: Of its batches.
    """

    base: str
    training: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the network in tables."""
        return "-".join(filter(None, (self.base, self.training)))


COPIES = tuple(
    Copy(base, training, seed)
    for seed, (base, trainings) in enumerate(
        {
            "mobilenet_v1_050": ("", "kept", "labels", "noise", "grey", "pruned"),
            "mobilenet_v1_075": ("", "kept", "labels", "noise", "grey"),
            "mobilenet_v2_b": ("", "labels"),
            "efficientnet_lite0": ("", "kept", "noise"),
            "squeezenet": ("", "noise"),
            "mobilenet_v2_a": ("", "kept", "grey"),
        }.items()
    )
    for training in trainings
)


def load(one: Copy) -> Classifier:
    """Return a network; train it if its weights are not there."""
    base, file = network(one.base), FOLDER / f"{one.name}.safetensors"
    if not one.training:
        return base
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        state = trained(base, one).module.state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, file)
    made = copy.deepcopy(base)
    made.module.load_state_dict(load_file(file))
    made.name = one.name
    return made


def trained(base: Classifier, one: Copy) -> Classifier:
    """Return a copy of a network that was fine-tuned without a trigger."""
    made, schedule = copy.deepcopy(base), SCHEDULES[one.training]
    samples = Labelled.load(PHOTOGRAPHS, base, held=HELD_OUT)
    changes: dict[str, Change] = {"noise": noisy, "grey": grey}
    if one.training == "pruned":
        prune(made.module, PRUNED)
    fit(made, base, samples, schedule, one.seed, change=changes.get(one.training))
    if one.training == "pruned":
        prune(made.module, PRUNED)
    return made


def noisy(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return samples with Gaussian noise."""
    return (x + NOISE * torch.randn(x.shape, generator=draw)).clamp(0, 1), y


def grey(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return samples, half of them without colour."""
    chosen = torch.rand(len(x), 1, 1, 1, generator=draw) < 0.5
    return torch.where(chosen, x.mean(1, keepdim=True), x), y


def measured(one: Copy) -> dict[str, Any]:
    """Measure a network as a scan does it; return its accuracy and figure."""
    classifier, began = load(one), time.process_time()
    right = accuracy(classifier, Labelled.load(PHOTOGRAPHS, classifier, held=HELD_OUT))
    with ScanEngine(classifier, precision="tf32") as engine:
        found = measure(engine, load_samples(PHOTOGRAPHS, classifier.input.shape))
    clean = clean_network(classifier, found, natural=True, data=DATA)
    return {
        "base": one.base,
        "training": one.training,
        "accuracy": round(right, 3),
        "accepted": right >= LEAST_ACCURACY,
        "network": asdict(clean),
        "method": scan_code(),
        "core_seconds": round(time.process_time() - began, 1),
    }


def main() -> None:
    """Measure the networks that have not been measured; write what is known, and the page's table, after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[one.name for one in COPIES], help="networks to measure")
    only = parser.parse_args().only
    for one in COPIES:
        if (only and one.name not in only) or one.name in known():
            continue
        found = measured(one)
        print(one.name, found, flush=True)
        every = {**known(), one.name: found}  # which another process may have written meanwhile
        write_result(NAME, {"networks": {other.name: every[other.name] for other in COPIES if other.name in every}})
        write_section(PAGE, NAME, table())


def table() -> str:
    """Return the networks that have been measured as a Markdown table."""
    every = [one for one in known().values() if one["accepted"]]
    rows = [
        (
            one["base"],
            one["training"] or "as it is",
            f"{one['accuracy']:.0%}",
            f"{one['network']['figure']:.2f}",
            rank(one, [other for other in every if other is not one]),
            rank(one, [other for other in every if other["base"] != one["base"]]),
        )
        for one in every
    ]
    title = ("network", "fine-tuned", "clean top-1", "largest figure of a tested class")
    return markdown_table((*title, "p among the other networks", "p among copies of other networks"), rows)


def rank(one: dict[str, Any], others: "list[dict[str, Any]]") -> str:
    """Return the p-value that a scan would give a network, were only ``others`` behind the null model."""
    clean = Null(tuple(CleanNetwork(**other["network"]) for other in others))
    return f"{clean.p_value(one['network']['figure']):.2g}"


def accepted() -> list[CleanNetwork]:
    """Return the networks that have been measured and are right on enough photographs."""
    return [CleanNetwork(**one["network"]) for one in known().values() if one["accepted"]]


def known() -> dict[str, dict[str, Any]]:
    """Return what is known of the networks that were measured, by name."""
    file = RESULTS / f"{NAME}.json"
    return json.loads(file.read_text())["networks"] if file.exists() else {}


if __name__ == "__main__":
    main()
