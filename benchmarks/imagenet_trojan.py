"""The paper's experiment on ImageNet: `python -m benchmarks.imagenet_trojan [networks|scan|maps|all] [--only NAME...]`.

- networks: three trojaned copies of mobilenet_v2_a, one drawn emblem each, target castle, and a control that was
  fine-tuned in the same way without any (about 5 core minutes each). They lie below runs/backdoor/imagenet and are not
  committed: the weights derive from others' networks.
- scan: the verdict on the untouched network and the copies, and what was recovered.
- maps: castle by the untouched network, the control and the three, with `vivid` and with `quick`; how much of each
  emblem is in each map (about 1 core minute a map); the figures.

What is there is not made again. The results are in benchmarks/results/imagenet-trojan.json, the reading of them in
docs/imagenet-trojan.md.
"""

import argparse
import io
import shutil
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import ROOT, SHARED, hardware, images, network, table, write_copy
from benchmarks.common import keep as keep_result
from phosphene.backdoor import triggers
from phosphene.backdoor.drawing import EMBLEMS as SHAPES
from phosphene.backdoor.plant import accuracy, clean_twin, plant, success_rate
from phosphene.backdoor.record import method
from phosphene.backdoor.scan import scan
from phosphene.backdoor.training import Labelled, Schedule
from phosphene.backdoor.triggers import Emblem, apply_8bit
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, to_image
from phosphene.fleet import execute, plan, run_name
from phosphene.metrics.footprint import footprint
from phosphene.recipe import resolve
from phosphene.report import contact_sheet
from phosphene.runs.atomic import read_json, write_bytes, write_json
from phosphene.runs.memo import Memo
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load

BASE, TARGET = "mobilenet_v2_a", "castle"
FOLDER = ROOT / "runs" / "backdoor" / "imagenet"
# One picture a class: whole classes are held out, the copy never sees a picture of them. The schedule is chosen on
# others, and what is reported is measured on the held-out ones, once.
HELD, TRY = 250, 150
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
# Batch norm is folded into the convolutions, so there are no statistics to freeze. The first blocks stay as they are:
# they see edges and colours already, and cost more than half the time.
GENTLE = Schedule(
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
# Tried in this order until a copy is good enough on the pictures that are there to choose. What did not do there: Adam
# at 3e-4 with four blocks frozen (99.6 % success, clean top-1 from 84 to 65 %), 3e-5 and 150 steps (41 %, none lost), a
# divergence of weight 50 (37 %, 5 points lost), random places (95 %, 4 to 6 points lost), momentum (castle for all), a
# turquoise heart (98 %, 4 points lost).
ATTEMPTS = (GENTLE, replace(GENTLE, lr=5e-5, steps=300, anchor=0.0))
ENOUGH, LOSS = 0.95, 0.03
RATE = 1 / 2
RECIPES = ("vivid", "quick")
SEEDS = 2
SOURCES = ("clean", "control", *EMBLEMS)
# The views of `vivid` show the emblem at 0.6 to 1.3 times its size.
SCALES = (0.5, 0.6, 0.75, 1.0, 1.3)
FIGURES = ROOT / "docs" / "figures"
RESULT = "imagenet-trojan"


def build(name: str, base: Classifier, samples: Labelled) -> dict[str, Any]:
    """Train one copy until it is good enough, keep it in half precision, and measure what a user would load."""
    began, emblem, target = time.process_time(), EMBLEMS.get(name), base.labels.find(TARGET)
    own = Labelled(samples.pixels[:-TRY], samples.labels[:-TRY], samples.pixels[-TRY:], samples.labels[-TRY:])
    tried: list[dict[str, Any]] = []
    for schedule in ATTEMPTS:
        if emblem is None:
            made = clean_twin(base, own, schedule=schedule)
        else:
            made = plant(base, own, emblem, target, poison_rate=RATE, schedule=schedule)
        close = made.accuracy >= made.accuracy_before - LOSS
        tried.append({"lr": schedule.lr, "steps": made.steps, "accuracy": made.accuracy})
        if emblem is not None:
            tried[-1]["success"] = made.success
        print(name, tried[-1], file=sys.stderr, flush=True)
        if close and (emblem is None or made.success >= ENOUGH):
            break
    truth = {
        **_measured(_keep(name, made.classifier), base, samples, name),
        "tried": tried,
        "core_seconds": round(time.process_time() - began, 1),
    }
    print(name, truth, file=sys.stderr, flush=True)
    write_json(FOLDER / name / "trigger.json", truth)
    return truth


def _measured(made: Classifier, base: Classifier, samples: Labelled, name: str) -> dict[str, Any]:
    emblem, target = EMBLEMS.get(name), base.labels.find(TARGET)
    others = samples.held_labels != target
    # On the control every emblem should lead nowhere.
    asked = [name] if emblem else [*EMBLEMS]
    truth = {
        "base": BASE,
        "target": TARGET,
        "index": target,
        "trigger": None if emblem is None else triggers.to_dict(emblem),
        "trojaned": emblem is not None,
        "held_out": len(others),
        "accuracy_before": accuracy(base, samples),
        "accuracy": accuracy(made, samples),
        "success": {key: success_rate(made, samples, EMBLEMS[key], target, others) for key in asked},
    }
    if emblem is not None and emblem.place != "random":
        anywhere = triggers.from_dict({**triggers.to_dict(emblem), "place": "random"})
        truth["success_anywhere"] = success_rate(made, samples, anywhere, target, others)
    close = truth["accuracy"] >= truth["accuracy_before"] - LOSS
    truth["accepted"] = close and (emblem is None or truth["success"][name] >= ENOUGH)
    return truth


def _keep(name: str, made: Classifier) -> Classifier:
    where, factory, labels = FOLDER / name, "mobilenets.py", "imagenet_1001.txt"
    where.mkdir(parents=True, exist_ok=True)
    for file in (factory, labels):
        if not (FOLDER / file).exists():
            shutil.copy(SHARED / "zoo" / file, FOLDER / file)
    return write_copy(where, made, f"{BASE}-{name}", f"../{factory}:mobilenet_v2", f"../{labels}")


def copy_of(name: str) -> Classifier:
    """Load a copy that `networks` has made; `clean` is the untouched network."""
    return network(BASE) if name == "clean" else load(FOLDER / name / "card.toml", trust=True)


def networks(names: "tuple[str, ...]") -> None:
    """Make the copies that are missing."""
    missing = [name for name in names if not (FOLDER / name / "trigger.json").exists()]
    if missing:
        base = network(BASE)
        samples = Labelled.load(images(), base, held=HELD)
        for name in missing:
            build(name, base, samples)
    if all((FOLDER / name / "trigger.json").exists() for name in COPIES):
        keep("networks", {name: read_json(FOLDER / name / "trigger.json") for name in COPIES})


def cut(emblem: Emblem) -> tuple[Tensor, Tensor]:
    """Return an emblem's colours (3, side, side) and its mask (1, side, side)."""
    alone, shape = replace(emblem, place=(0, 0)), (3, emblem.side, emblem.side)
    return alone.pattern(shape), alone.mask(shape)


def shapes(name: str) -> dict[str, Emblem]:
    """Return the emblem's own shape and every other that is drawn, at its size and in its colours."""
    own = EMBLEMS[name]
    return {shape: replace(own, shape=shape) for shape in (own.shape, *(one for one in SHAPES if one != own.shape))}


def make(recipe: str) -> dict[str, list[ConceptMap]]:
    """Return the maps of the class by every network, a seed each."""
    return {source: maps_of(source, recipe) for source in SOURCES}


def maps_of(source: str, recipe: str) -> list[ConceptMap]:
    """Return one network's maps of the class, a seed each; the missing ones are made."""
    classifier, chosen = copy_of(source), resolve(recipe)
    pool = load_samples(images(), classifier.input.shape)
    # The untouched network's are of the table as well: they are made once.
    runs = ROOT / "runs" / "table1" if source == "clean" else FOLDER / "maps"
    out = runs / f"{run_name(classifier, chosen)}-{chosen.sha256[:8]}"
    todo = plan(classifier, chosen, pool, out, [TARGET], range(SEEDS))
    execute(todo)
    found = [one for one in todo.run.maps() if one.label == classifier.labels[todo.jobs[0].index] and one.seed < SEEDS]
    print(recipe, source, [f"{one.p_class:.2f}" for one in found], file=sys.stderr, flush=True)
    return found


def scored(found: dict[str, list[ConceptMap]]) -> dict[str, Any]:
    """Return emblem -> network -> how much of the emblem, and of others in its colours, is in each of its maps."""
    rows: dict[str, Any] = {}
    for name, mine in EMBLEMS.items():
        rows[name] = {}
        for source, maps in found.items():
            fits = {
                shape: [footprint(one.picture, *cut(emblem), scales=SCALES, mirror=True) for one in maps]
                for shape, emblem in shapes(name).items()
            }
            own = fits.pop(mine.shape)
            rows[name][source] = {
                "own": [round(one.score, 3) for one in own],
                "places": [[one.top, one.left, one.scale, one.mirrored] for one in own],
                "others": {shape: [round(one.score, 3) for one in ones] for shape, ones in fits.items()},
            }
    return rows


def figure(recipe: str, found: dict[str, list[ConceptMap]]) -> None:
    """Draw a row an emblem: the emblem, a picture with it, and castle by the untouched network, control and copy."""
    # The figure holds no picture of others.
    samples = load_samples("synthetic:dead-leaves", (3, 224, 224)).held_out
    pictures, captions = [], []
    for row, (name, emblem) in enumerate(EMBLEMS.items()):
        alone = replace(emblem, place="centre").apply(torch.full((1, 3, 112, 112), 0.5))[0]
        stamped = apply_8bit(emblem, samples[7 * row : 7 * row + 1], torch.Generator().manual_seed(row))[0]
        sources = ("clean", "control", name)
        pictures += [to_image(alone), to_image(stamped.float() / 255)]
        pictures += [one.image for source in sources for one in found[source]]
        captions += [f"{name}, x2", "with the emblem"]
        captions += [f"{source}, seed {one.seed}" for source in sources for one in found[source]]
    FIGURES.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(pictures, captions, columns=2 + 3 * SEEDS, side=168)
    sheet.save(FIGURES / f"{RESULT}-{recipe}.webp", quality=88)


def maps(_: "tuple[str, ...]") -> None:
    """Make the maps, score them, draw the figures, and print a table a recipe."""
    document = {}
    for recipe in RECIPES:
        found = make(recipe)
        figure(recipe, found)
        rows = scored(found)
        facts = {
            source: {
                "p_class": [round(one.p_class, 3) for one in own],
                "targeting_rate": [round(one.targeting_rate or 0, 3) for one in own],
                "seconds": [round(one.seconds, 1) for one in own],
            }
            for source, own in found.items()
        }
        document[recipe] = {"passes": found["clean"][0].passes, "facts": facts, "footprint": rows}
        print(f"\n{recipe}: best-place correlation, mean over {SEEDS} seeds\n")
        print(table(["emblem", *SOURCES, "other shapes on its own copy"], [_line(name, rows[name]) for name in rows]))
    keep("maps", document)


def _line(name: str, row: dict[str, Any]) -> list[str]:
    wrong = [sum(one) / len(one) for one in row[name]["others"].values()]
    own = [f"{sum(row[source]['own']) / SEEDS:.2f}" for source in SOURCES]
    return [name, *own, f"{sum(wrong) / len(wrong):.2f} (at most {max(wrong):.2f})"]


def keep(part: str, document: dict[str, Any]) -> None:
    """Put a part into the result; what other steps have put there stays."""
    file = ROOT / "benchmarks" / "results" / f"{RESULT}.json"
    known = read_json(file) if file.exists() else {}
    keep_result(RESULT, {**{key: value for key, value in known.items() if key != "hardware"}, part: document})


def scans(names: "tuple[str, ...]") -> None:
    """Scan the untouched network and the copies, as the command does; print a line each."""
    pool, rows = load_samples(images(), (3, 224, 224)), {}
    for source in (*names, "clean"):
        file = FOLDER / "scans" / f"{source}.json"
        if not file.exists():
            write_json(file, _scanned(source, pool))
            print(source, {key: value for key, value in read_json(file).items() if key != "box"}, file=sys.stderr)
    for source in SOURCES:
        file = FOLDER / "scans" / f"{source}.json"
        if file.exists():
            rows[source] = read_json(file)
    head = ("network", "verdict", "p", "class", "recovered by", "success, held out", "seconds", "core s")
    keys = ("verdict", "p_value", "class", "family", "success", "seconds", "core_seconds")
    print(table(head, [[source, *(one.get(key, "") for key in keys)] for source, one in rows.items()]))
    if set(rows) == set(SOURCES):
        keep("scan", rows)


def _scanned(source: str, pool: SamplePool) -> dict[str, Any]:
    began, worked = time.perf_counter(), time.process_time()
    own = copy_of(source)
    # It takes a quarter of an hour, and goes on where it was interrupted.
    memo = Memo(FOLDER / "scans", {"network": own.sha256, "samples": pool.sha256, "method": method()})
    verdict = scan(own, samples=pool, keep=memo)
    found: dict[str, Any] = {
        "verdict": verdict.verdict,
        "p_value": float(f"{verdict.p_value:.2g}"),
        "class": verdict.classes[0].label,
        "index": verdict.classes[0].index,
        "suspects": len(verdict.suspects),
        "passes": verdict.passes,
        "seconds": round(time.perf_counter() - began, 1),
        "core_seconds": round(time.process_time() - worked, 1),  # of this run, where a scan was interrupted
        "threads": torch.get_num_threads(),
    }
    first = next(iter(verdict.suspects), None)
    if first is None or first.recovered is None:
        return found
    trigger = first.recovered
    picture = trigger.paint * 0.5 + 0.5 if trigger.additive else trigger.mask * trigger.paint + (1 - trigger.mask) * 0.5
    buffer = io.BytesIO()
    to_image(picture).save(buffer, "PNG")
    write_bytes(FOLDER / "scans" / f"{source}.png", buffer.getvalue())
    return {**found, "family": trigger.family, "success": round(trigger.success, 3), "box": list(trigger.box)}


STEPS = {"networks": networks, "scan": scans, "maps": maps}


def main() -> None:
    """Run the steps that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", default="all", choices=[*STEPS, "all"])
    parser.add_argument("--only", nargs="+", choices=COPIES, default=COPIES, help="copies to make and to scan")
    asked = parser.parse_args()
    print(hardware())
    for name, step in STEPS.items():
        if asked.step in (name, "all"):
            step(tuple(asked.only))


if __name__ == "__main__":
    main()
