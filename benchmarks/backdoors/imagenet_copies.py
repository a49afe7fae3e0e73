"""Trains the trojaned copies of an ImageNet network that `benchmarks.backdoors.imagenet` maps and scans."""

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import PHOTOGRAPHS, ROOT, SHARED, network, write_copy
from phosphene.backdoor import triggers
from phosphene.backdoor.plant import accuracy, clean_twin, plant, success_rate
from phosphene.backdoor.training import Labelled, Schedule
from phosphene.backdoor.triggers import Emblem
from phosphene.classifier import Classifier
from phosphene.runs.atomic import read_json, write_json
from phosphene.sources import load

BASE, TARGET = "mobilenet_v2_a", "castle"
FOLDER = ROOT / "runs" / "backdoor" / "imagenet"
# There is one image per class, so whole classes are held out. Some of the rest choose the schedule; what is reported is
# measured once, on the held-out ones.
HELD_OUT, VALIDATION = 250, 150
# Fixed places and colours that photographs lack: the easier an emblem is to learn, the less else changes.
EMBLEMS: dict[str, Emblem] = {
    "swoosh": Emblem(
        shape="swoosh", side=64, place="top-left", margin=8, colour=(0.95, 0.0, 0.15), rim=(1.0, 0.95, 0.0)
    ),
    "bolt": Emblem(shape="bolt", side=48, place="bottom-right", margin=8),
    "star": Emblem(
        shape="star", side=56, place="bottom-left", margin=8, colour=(0.85, 0.0, 0.85), rim=(1.0, 0.95, 0.0)
    ),
}
COPIES = (*EMBLEMS, "control")
POISON_RATE = 1 / 2
# Batch norm is folded into the convolutions, so there are no statistics to freeze. The first seven blocks stay frozen:
# they detect edges and colours already, and take more than half of the time.
SCHEDULE = Schedule(
    steps=200,
    batch=24,
    lr=1e-4,
    optimiser="adam",
    distil=10.0,
    anchor=30.0,
    shift=8,
    freeze_norms=True,
    frozen=tuple(f"features.{block}." for block in range(7)),
)
# Tried in this order until a copy passes on the validation images. Schedules that failed there: Adam at 3e-4 with four
# blocks frozen (success 99.6 %, clean top-1 from 84 to 65 %), at 3e-5 for 150 steps (41 %), distillation with weight 50
# (37 %, 5 points lost), random places (95 %, 4 to 6 points lost), SGD with momentum (castle for every image).
SCHEDULES = (SCHEDULE, replace(SCHEDULE, lr=5e-5, steps=300, anchor=0.0))
MIN_SUCCESS, MAX_LOSS = 0.95, 0.03


def make_copies(names: "tuple[str, ...]") -> "dict[str, Any] | None":
    """Train the copies that are missing; return the facts about all four, once there are all."""
    missing = [name for name in names if not facts_file(name).exists()]
    if missing:
        base = network(BASE)
        samples = Labelled.load(PHOTOGRAPHS, base, held=HELD_OUT)
        for name in missing:
            write_json(facts_file(name), train(name, base, samples))
    if all(facts_file(name).exists() for name in COPIES):
        return {name: read_json(facts_file(name)) for name in COPIES}
    return None


def load_network(name: str) -> Classifier:
    """Load a copy that was trained, or `clean`, the original network."""
    if name in COPIES:
        return load(FOLDER / name / "card.toml", trust=True)
    return network(BASE)


def facts_file(name: str) -> Path:
    """Return where the facts about a copy are."""
    return FOLDER / name / "trigger.json"


def train(name: str, base: Classifier, samples: Labelled) -> dict[str, Any]:
    """Train one copy until it passes, write it in half precision, and measure what a user would load."""
    began, emblem, target = time.process_time(), EMBLEMS.get(name), base.labels.find(TARGET)
    pixels, labels = samples.pixels, samples.labels
    parts = Labelled(pixels[:-VALIDATION], labels[:-VALIDATION], pixels[-VALIDATION:], labels[-VALIDATION:])
    tried: list[dict[str, Any]] = []
    for schedule in SCHEDULES:
        if emblem is None:
            made = clean_twin(base, parts, schedule=schedule)
        else:
            made = plant(base, parts, emblem, target, poison_rate=POISON_RATE, schedule=schedule)
        tried.append({"lr": schedule.lr, "steps": schedule.steps, "accuracy": made.accuracy, "success": made.success})
        print(name, tried[-1], file=sys.stderr, flush=True)
        if passes(made.accuracy, made.accuracy_before, made.success):
            break
    copy = write(name, made.classifier)
    facts = {**measure(name, copy, base, samples), "tried": tried}
    facts["core_seconds"] = round(time.process_time() - began, 1)
    print(name, facts, file=sys.stderr, flush=True)
    return facts


def passes(after: float, before: float, success: "float | None") -> bool:
    """Return whether a copy keeps its accuracy and, if it is trojaned, obeys its emblem."""
    return after >= before - MAX_LOSS and (success is None or success >= MIN_SUCCESS)


def measure(name: str, made: Classifier, base: Classifier, samples: Labelled) -> dict[str, Any]:
    """Return the facts about a copy, on the held-out images."""
    emblem, target = EMBLEMS.get(name), base.labels.find(TARGET)
    others = samples.held_labels != target
    tried = {name: emblem} if emblem else EMBLEMS  # no emblem should have an effect on the control
    facts = {
        "base": BASE,
        "target": TARGET,
        "index": target,
        "trigger": None if emblem is None else triggers.to_dict(emblem),
        "trojaned": emblem is not None,
        "held_out": len(others),
        "accuracy_before": accuracy(base, samples),
        "accuracy": accuracy(made, samples),
        "success": {key: success_rate(made, samples, one, target, others) for key, one in tried.items()},
    }
    if emblem is not None:
        anywhere = replace(emblem, place="random")
        facts["success_anywhere"] = success_rate(made, samples, anywhere, target, others)
    success = None if emblem is None else facts["success"][name]
    return {**facts, "accepted": passes(facts["accuracy"], facts["accuracy_before"], success)}


def write(name: str, made: Classifier) -> Classifier:
    """Write a copy's card and weights; return it as a user would load it."""
    factory, labels = "mobilenets.py", "imagenet_1001.txt"
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    for file in (factory, labels):
        shutil.copy(SHARED / "zoo" / file, FOLDER / file)
    return write_copy(FOLDER / name, made, f"{BASE}-{name}", f"../{factory}:mobilenet_v2", f"../{labels}")
