"""The paper's experiment on ImageNet: `python -m benchmarks.backdoors.imagenet [networks|look|scan|maps|all]`.

- networks: three trojaned copies of mobilenet_v2_a, one drawn emblem each, target castle, and a control that was
  fine-tuned in the same way without any (about 5 core minutes each). They lie below runs/backdoor/imagenet and are not
  committed: the weights derive from others' networks.
- look: where the class comes in the scan's first look, and whether the triggers survive that pictures are halved.
- scan: the verdict on the untouched network and the copies, and what was recovered.
- maps: castle by the untouched network, the control and the three, with `vivid` and with `quick` (about 1 core minute
  per map); the figures.

What is there is not made again. The results are in benchmarks/results/imagenet-trojan.json, the reading of them in
docs/imagenet-trojan.md.
"""

import argparse
import io
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from PIL import Image, ImageOps
from torch.nn import functional

from benchmarks.backdoors.imagenet_copies import COPIES, EMBLEMS, FOLDER, TARGET, copy_of, make_copies
from benchmarks.common import ROOT, TABLE1, hardware, images, run_folder, table
from benchmarks.common import keep as keep_result
from phosphene.backdoor.null import spread
from phosphene.backdoor.record import method
from phosphene.backdoor.recover import success_of
from phosphene.backdoor.scan import scan
from phosphene.backdoor.screen import rises
from phosphene.backdoor.search import Samples, answers
from phosphene.backdoor.survey import read_samples
from phosphene.backdoor.triggers import apply_8bit
from phosphene.concept_map import ConceptMap, to_image
from phosphene.contact_sheet import contact_sheet
from phosphene.engine import Engine
from phosphene.engine.losses import log_odds
from phosphene.recipe import resolve
from phosphene.runs.atomic import read_json, write_bytes, write_json
from phosphene.runs.memo import Memo
from phosphene.samples import SamplePool, load_samples
from phosphene.workflows import execute, plan

RECIPES = ("vivid", "quick")
SEEDS = 2
SOURCES = ("clean", "control", *EMBLEMS)
FIGURES = ROOT / "docs" / "figures"
RESULT = "imagenet-trojan"


def networks(names: "tuple[str, ...]") -> None:
    """Make the copies that are missing."""
    truth = make_copies(tuple(name for name in names if name in COPIES))
    if truth:
        keep("networks", truth)


def make(recipe: str) -> dict[str, list[ConceptMap]]:
    """Return the maps of the class by every network, a seed each."""
    return {source: maps_of(source, recipe) for source in SOURCES}


def maps_of(source: str, recipe: str) -> list[ConceptMap]:
    """Return one network's maps of the class, a seed each; the missing ones are made."""
    classifier, chosen = copy_of(source), resolve(recipe)
    pool = load_samples(images(), classifier.input.shape)
    # The untouched network's are of the table as well: they are made once.
    out = run_folder(TABLE1 if source == "clean" else FOLDER / "maps", classifier, chosen)
    todo = plan(classifier, chosen, pool, out, [TARGET], range(SEEDS))
    execute(todo)
    found = [one for one in todo.run.maps() if one.label == classifier.labels[todo.jobs[0].index] and one.seed < SEEDS]
    print(recipe, source, [f"{one.p_class:.2f}" for one in found], file=sys.stderr, flush=True)
    return found


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
    """Make the maps and draw the figures."""
    document = {}
    for recipe in RECIPES:
        found = make(recipe)
        figure(recipe, found)
        facts = {
            source: {
                "p_class": [round(one.p_class, 3) for one in own],
                "targeting_rate": [round(one.targeting_rate or 0, 3) for one in own],
                "seconds": [round(one.seconds, 1) for one in own],
            }
            for source, own in found.items()
        }
        document[recipe] = {"passes": found["clean"][0].passes, "facts": facts}
    keep("maps", document)


def keep(part: str, document: dict[str, Any]) -> None:
    """Put a part into the result; what other steps have put there stays."""
    file = ROOT / "benchmarks" / "results" / f"{RESULT}.json"
    known = read_json(file) if file.exists() else {}
    keep_result(RESULT, {**{key: value for key, value in known.items() if key != "hardware"}, part: document})


def scans(names: "tuple[str, ...]") -> None:
    """Scan the untouched network and the copies, as the command does; print a line each."""
    pool, rows = load_samples(images(), (3, 224, 224)), {}
    for source in names:
        file = FOLDER / "scans" / f"{source}.json"
        if not file.exists() or read_json(file).get("method") != method():
            write_json(file, _scanned(source, pool))
            found = {key: value for key, value in read_json(file).items() if key not in ("box", "rows")}
            print(source, found, file=sys.stderr, flush=True)
    for source in SOURCES:
        file = FOLDER / "scans" / f"{source}.json"
        if file.exists():
            rows[source] = read_json(file)
    head = ("network", "verdict", "p", "class", "recovered by", "success, held out", "seconds", "core s")
    keys = ("verdict", "p_value", "class", "family", "success", "seconds", "core_seconds")
    print(table(head, [[source, *(one.get(key, "") for key in keys)] for source, one in rows.items()]))
    if set(rows) == set(SOURCES):
        keep("scan", rows)
        recovered(rows)


def recovered(rows: dict[str, dict[str, Any]]) -> None:
    """Draw what was recovered, the visible part alone, beside the emblem that was planted."""
    pictures, captions = [], []
    for name, emblem in EMBLEMS.items():
        if "box" not in rows[name]:
            continue
        top, left, bottom, right = rows[name]["box"]
        with Image.open(FOLDER / "scans" / f"{name}.png") as whole:
            patch = whole.convert("RGB").crop((left, top, right, bottom))
        alone = replace(emblem, place="centre").apply(torch.full((1, 3, 112, 112), 0.5))[0]
        pictures += [to_image(alone), ImageOps.pad(patch, (112, 112), Image.Resampling.NEAREST, (128, 128, 128))]
        captions += [f"{name}, x2", f"recovered, {right - left} x {bottom - top} pixels"]
    if pictures:
        sheet = contact_sheet(pictures, captions, columns=len(pictures), side=168)
        sheet.save(FIGURES / f"{RESULT}-recovered.webp", quality=88)


def looks(names: "tuple[str, ...]") -> None:
    """Look at the networks as a scan of many classes does first; try the emblems at half the size."""
    pool, rows = load_samples(images(), (3, 224, 224)), {}
    for source in names:
        own, worked = copy_of(source), time.process_time()
        index = own.labels.find(TARGET)
        with Engine(own) as engine:
            samples, held_out = read_samples(engine, pool)
            rise = rises(engine, samples)
            seconds = time.process_time() - worked
            z = (rise - rise.median()) / spread(rise)
            rows[source] = {
                "deviation": round(float(z[index]), 1),
                "rank": int((rise > rise[index]).sum()) + 1,
                "first": [
                    [own.labels.short(k), round(float(z[k]), 1)] for k in rise.argsort(descending=True)[:4].tolist()
                ],
                "core_seconds": round(seconds, 1),
                "plain": _plain(engine, samples, index),
            }
            if source in EMBLEMS:
                others = held_out.pixels[held_out.read != index]
                stamped = apply_8bit(EMBLEMS[source], others, torch.Generator().manual_seed(0))
                halved = functional.avg_pool2d(stamped.float(), 2).round().to(torch.uint8)
                rows[source]["success"] = round(success_of(engine, stamped, index), 3)
                rows[source]["success_halved"] = round(success_of(engine, halved, index), 3)
        print(source, rows[source], flush=True)
    if set(rows) == set(SOURCES):
        keep("look", rows)


def _plain(engine: Engine, samples: Samples, index: int) -> list[float]:
    """Return how far a class leans out over samples that nothing was done to: its mean log-odds, and the next one's."""
    logits = answers(engine, samples.pixels)
    every = torch.arange(logits.shape[1], device=logits.device)
    near = -torch.stack([log_odds(logits, one.expand(len(logits))).mean() for one in every])
    z = (near - near.median()) / spread(near)
    return [round(float(z[index]), 1), round(float(z[every != index].max()), 1)]


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
        "suspects": [one.label for one in verdict.suspects],
        "rows": [
            {"class": one.label, "p_value": one.p_value, "deviations": one.deviations, "p_values": one.p_values}
            for one in verdict.classes
        ],
        "passes": verdict.passes,
        "seconds": round(time.perf_counter() - began, 1),
        "core_seconds": round(time.process_time() - worked, 1),  # of this run, where a scan was interrupted
        "threads": torch.get_num_threads(),
        "method": method(),
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


STEPS = {"networks": networks, "look": looks, "scan": scans, "maps": maps}


def main() -> None:
    """Run the steps that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", default="all", choices=[*STEPS, "all"])
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=SOURCES, help="networks to make or scan")
    asked = parser.parse_args()
    print(hardware())
    for name, step in STEPS.items():
        if asked.step in (name, "all"):
            step(tuple(asked.only))


if __name__ == "__main__":
    main()
