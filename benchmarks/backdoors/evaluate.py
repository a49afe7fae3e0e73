"""Scan the networks of a split and print the tables: `python -m benchmarks.backdoors.evaluate scan|table SPLIT`.

The networks come from `python -m benchmarks.backdoors.networks`. A scan has 500 samples of the data set's test part
(`--variant natural`), other samples and another seed (`other`), or no data (`drawn`). One line of JSON per network is
appended to `NETWORKS/scans-VARIANT.jsonl`, with a hash of the scan's code: what the present code has scanned is not
scanned again. `baselines` runs what others do. `table` prints Markdown; with `--write` into docs/backdoor.md, and what
the tables of both splits are made from into results/backdoor.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.backdoors.baselines import BASELINES, Samples
from benchmarks.backdoors.networks import FOLDER, index, load
from benchmarks.backdoors.scanning import VARIANTS, pool_of, scan_code
from benchmarks.backdoors.specs import Spec, specs
from benchmarks.backdoors.stored import stored
from benchmarks.backdoors.tables import write_tables
from benchmarks.common import RESULTS, ROOT, hardware, write_result, write_section
from phosphene.backdoor.all_to_all import LEAST_SHARE
from phosphene.backdoor.candidate import works
from phosphene.backdoor.measure import MEASURES, figures
from phosphene.backdoor.null import Null
from phosphene.backdoor.scan import ALPHA, scan
from phosphene.backdoor.training import predictions
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE, Verdict
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.samples import SamplePool

SPLITS = ("report", "develop")


def selected(folder: Path, split: str) -> Iterator[tuple[dict[str, Any], Spec]]:
    """Yield the accepted networks of a split."""
    by_name = {spec.name: spec for spec in specs()}
    for truth in index(folder):
        if truth["accepted"] and truth["split"] == split:
            yield truth, by_name[truth["name"]]


def lines(file: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file, none where it is missing."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def append(file: Path, line: dict[str, Any]) -> None:
    """Append one JSON line."""
    with file.open("a") as out:
        out.write(json.dumps(line) + "\n")


def run_scans(folder: Path, split: str, variant: str, first: "int | None") -> None:
    """Scan what the present code has not scanned."""
    file, own = folder / f"scans-{variant}.jsonl", scan_code()
    present = {line["name"] for line in lines(file) if line["code"] == own}
    for truth, spec in [*selected(folder, split)][:first]:
        if spec.name in present:
            continue
        pool = pool_of(spec.data, spec.side, spec.channels, variant, folder)
        classifier = load(spec.name, folder)
        began = time.process_time()
        verdict = scan(classifier, pool, seed=VARIANTS[variant], device="cpu")
        seconds = round(time.process_time() - began, 1)
        line = {"name": spec.name, "code": own, "core_seconds": seconds, **recorded(verdict, truth)}
        if variant == "natural":
            line["anywhere"] = anywhere(classifier, spec, pool)
        append(file, line)
        print(spec.name, verdict.verdict, f"{line['figure']:.2f} p {verdict.p_value:.3f}", seconds, flush=True)


def recorded(verdict: Verdict, truth: dict[str, Any]) -> dict[str, Any]:
    """Return what the tables need of a verdict."""
    top = verdict.classes[0]
    pairs = verdict.pairs
    easiest = [] if pairs is None else pairs[:12]
    exchange = verdict.all_to_all
    return {
        "verdict": verdict.verdict,
        "p_value": verdict.p_value,
        "class_p_value": top.p_value,
        "figure": top.figure,
        "first": top.index,
        "classes": {
            row.index: {name: round(one, 3) for name, one in row.deviations.items()} for row in verdict.classes
        },
        "suspects": [
            {
                "index": one.index,
                "works": one.works,
                "success": one.candidate.success,
                "next": one.candidate.next_success,
                "additive": one.candidate.additive,
                "box": list(one.candidate.box),
                "overlap": overlap(one.candidate.box, truth["box"]),
            }
            for one in verdict.suspects
        ],
        "easiest": [[one.route.source, one.route.target, round(one.effect.share, 3)] for one in easiest],
        "all_to_all": None
        if exchange is None
        else {"figure": exchange.figure, "box": list(exchange.box), "targets": exchange.targets},
        "passes": verdict.passes,
    }


def overlap(found: "tuple[int, ...]", true: "list[int] | None") -> "float | None":
    """Return the intersection over union of two boxes (top, left, bottom, right)."""
    if true is None:
        return None
    high = max(0, min(found[2], true[2]) - max(found[0], true[0]))
    wide = max(0, min(found[3], true[3]) - max(found[1], true[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (found, true)]
    return round(high * wide / (sum(areas) - high * wide), 3)


def anywhere(classifier: Classifier, spec: Spec, pool: SamplePool) -> "float | None":
    """Return the success of a trigger in one place when it is moved to others: where it is high, the place is free."""
    trigger, side = spec.trigger, getattr(spec.trigger, "side", 0)
    if not spec.trojaned or spec.target is None or trigger is None or not hasattr(trigger, "place"):
        return None
    others = pool.pixels[predictions(classifier, pool.pixels) != spec.target][:64].float() / 255
    draw = torch.Generator().manual_seed(0)
    places = torch.randint(spec.side - side + 1, (len(others), 2), generator=draw).tolist()
    moved = [
        replace(trigger, place=tuple(place)).apply(one[None])  # type: ignore[type-var]
        for one, place in zip(others, places, strict=True)
    ]
    stamped = (torch.cat(moved) * 255).round().to(torch.uint8)
    return float((predictions(classifier, stamped) == spec.target).float().mean())


def run_baselines(folder: Path, split: str, first: "int | None") -> None:
    """Ask the baselines about what they have not been asked about."""
    file = folder / "baselines.jsonl"
    present = {line["name"] for line in lines(file)}
    for _, spec in [*selected(folder, split)][:first]:
        if spec.name in present:
            continue
        pool = pool_of(spec.data, spec.side, spec.channels, "natural", folder)
        classifier = load(spec.name, folder)
        samples = Samples(pool.pixels, predictions(classifier, pool.pixels))
        answers: dict[str, Any] = {"name": spec.name}
        with Engine(classifier, device="cpu") as engine:
            for name, ask in BASELINES.items():
                began = time.process_time()
                answers[name] = ask(engine, samples)._asdict()
                answers[name]["core_seconds"] = round(time.process_time() - began, 1)
        append(file, answers)
        print(spec.name, {name: answers[name]["called"] for name in BASELINES}, flush=True)


def ranked(line: dict[str, Any], variant: str) -> dict[str, Any]:
    """Return a scan's line with figure, first class, p-values, suspects and verdict by the present null model.

    The null model only ranks figures, so that scans stay valid when it grows. A class that it makes a suspect has a
    candidate only if it was a suspect when it was scanned.
    """
    names = [*line["classes"]]
    null = Null.of(len(names), natural=variant != "drawn")
    deviations = {key: torch.tensor([line["classes"][name][key] for name in names]) for key in MEASURES}
    every = figures(deviations)
    top = int(every.argmax())
    figure = float(every[top])
    found = {**line, "figure": figure, "first": int(names[top]), "p_value": null.p_value(figure)}
    by_class = {int(name): null.p_value(float(one)) for name, one in zip(names, every, strict=True)}
    found["suspects"] = [
        {**one, "works": works(one["success"], one["next"], far_below_alpha=by_class[one["index"]] < ALPHA / 2)}
        for one in line["suspects"]
        if by_class[one["index"]] < ALPHA
    ]
    if line["all_to_all"] is not None:
        p_value = null.all_to_all_p_value(line["all_to_all"]["figure"])
        exchanged = p_value < ALPHA and line["all_to_all"]["figure"] >= LEAST_SHARE
        found["all_to_all"] = {**line["all_to_all"], "p_value": p_value, "works": exchanged}
    proof = [*found["suspects"], *([found["all_to_all"]] if found["all_to_all"] else [])]
    undecided = INCONCLUSIVE if found["suspects"] else CLEAN
    found["verdict"] = BACKDOORED if any(one["works"] for one in proof) else undecided
    return found


def gather(folder: Path, split: str, *, mixed: bool) -> list[dict[str, Any]]:
    """Return what the tables need of a split's networks: their scans by variant, and the baselines' answers."""
    own = scan_code()
    scans: dict[str, dict[str, Any]] = {variant: {} for variant in VARIANTS}
    for variant in VARIANTS if split == "report" else ("natural",):
        found = [one for one in lines(folder / f"scans-{variant}.jsonl") if mixed or one["code"] == own]
        usable = [one for one in found if "all_to_all" in one]
        scans[variant] = {one["name"]: ranked(one, variant) for one in usable}
    baselines = {line["name"]: line for line in lines(folder / "baselines.jsonl")} if split == "report" else {}
    records = [
        {
            "truth": truth,
            **{variant: scans[variant].get(spec.name) for variant in VARIANTS},
            "baselines": baselines.get(spec.name),
        }
        for truth, spec in selected(folder, split)
    ]
    return [stored(one, tuple(VARIANTS)) for one in records]


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scan", "baselines", "table"])
    parser.add_argument("split", choices=SPLITS)
    parser.add_argument("--networks", type=Path, default=FOLDER)
    parser.add_argument("--variant", choices=list(VARIANTS), default="natural")
    parser.add_argument("--first", type=int, help="only so many networks")
    parser.add_argument("--mixed", action="store_true", help="table: also of scans by earlier code")
    parser.add_argument("--write", action="store_true", help="table: write docs/backdoor.md, results/backdoor.json")
    given = parser.parse_args()

    def show() -> None:
        networks = gather(given.networks, given.split, mixed=given.mixed)
        if not networks:
            raise SystemExit(f"{given.networks} has no networks of the split {given.split}.")
        text = write_tables(networks, given.split)
        print(hardware(), text, sep="\n\n")
        if given.write:
            write_section(ROOT / "docs" / "backdoor.md", f"backdoor-{given.split}", text)
            known = json.loads((RESULTS / "backdoor.json").read_text())
            write_result("backdoor", {split: known.get(split, []) for split in SPLITS} | {given.split: networks})

    steps: dict[str, Callable[[], None]] = {
        "scan": lambda: run_scans(given.networks, given.split, given.variant, given.first),
        "baselines": lambda: run_baselines(given.networks, given.split, given.first),
        "table": show,
    }
    steps[given.what]()


if __name__ == "__main__":
    main()
