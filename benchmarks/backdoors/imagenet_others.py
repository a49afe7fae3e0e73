"""Trojaned copies of other ImageNet networks, scanned: `python -m benchmarks.backdoors.imagenet_others [--only NETWORK ...]`.

The scan of many classes was developed on copies of mobilenet_v2_a (`benchmarks.backdoors.imagenet`). Here a trojan is
planted in one copy each of two networks of another architecture, and each is scanned once with default settings. The copies
are neither kept nor committed: the weights derive from those of others. Writes benchmarks/results/imagenet-others.json and a
table of docs/imagenet-trojan.md.
"""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

from benchmarks.backdoors.imagenet_copies import EMBLEMS, HELD_OUT, POISON_RATE, SCHEDULE
from benchmarks.common import DOCS, PHOTOGRAPHS, RESULTS, markdown_table, network, write_result, write_section
from phosphene.backdoor.plant import accuracy, plant, success_rate
from phosphene.backdoor.scan import scan
from phosphene.backdoor.training import Labelled
from phosphene.labels import first_synonym
from phosphene.samples import load_samples

NAME = "imagenet-others"
# Network -> emblem and target class.
ATTACKS = {"mobilenet_v1_050": ("star", "castle"), "mobilenet_v1_075": ("bolt", "pirate")}
TRAINING = replace(SCHEDULE, lr=2e-4, steps=300, anchor=0.0, frozen=())
LABELS = (
    "network",
    "emblem",
    "target",
    "success",
    "clean top-1, before",
    "verdict",
    "p",
    "first class, figure",
    "next class, figure",
)


def trial(name: str) -> dict[str, Any]:
    """Plant a trojan in a copy of a network and scan it."""
    began = time.process_time()
    base, (shape, label) = network(name), ATTACKS[name]
    target, side = base.labels.find(label), min(base.input.size)
    emblem = replace(EMBLEMS[shape], side=round(EMBLEMS[shape].side * side / 224))
    samples = Labelled.load(PHOTOGRAPHS, base, held=HELD_OUT)
    copy = plant(base, samples, emblem, target, poison_rate=POISON_RATE, schedule=TRAINING).classifier
    success = success_rate(copy, samples, emblem, target, samples.held_labels != target)
    verdict = scan(copy, load_samples(PHOTOGRAPHS, copy.input.shape))
    return {
        "emblem": shape,
        "target": first_synonym(base.labels[target]),
        "success": round(success, 3),
        "accuracy": round(accuracy(copy, samples), 3),
        "accuracy_before": round(accuracy(base, samples), 3),
        "verdict": verdict.verdict,
        "p_value": float(f"{verdict.p_value:.2g}"),
        "classes": [[first_synonym(row.label), round(row.figure, 2)] for row in verdict.classes[:2]],
        "suspects": [first_synonym(suspect.label) for suspect in verdict.suspects],
        "core_seconds": round(time.process_time() - began, 1),
    }


def table(trials: dict[str, dict[str, Any]]) -> str:
    """Return the trials as a Markdown table."""
    rows = [
        (
            name,
            one["emblem"],
            one["target"],
            f"{one['success']:.0%}",
            f"{one['accuracy']:.0%}, {one['accuracy_before']:.0%}",
            one["verdict"],
            one["p_value"],
            *(f"{label}, {figure:.2f}" for label, figure in one["classes"]),
        )
        for name, one in trials.items()
    ]
    return markdown_table(LABELS, rows)


def main() -> None:
    """Run the trials that are asked for; the result keeps the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="networks to plant in and scan"
    )
    file = RESULTS / f"{NAME}.json"
    for name in parser.parse_args().only:
        result = trial(name)
        print(name, result, flush=True)
        stored = json.loads(file.read_text())["trials"] if file.exists() else {}
        trials = {key: {**stored, name: result}[key] for key in ATTACKS if key in (*stored, name)}
        write_result(NAME, {"trials": trials})
        write_section(DOCS / "imagenet-trojan.md", NAME, table(trials))


if __name__ == "__main__":
    main()
