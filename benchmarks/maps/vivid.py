"""The figures that `vivid` must reach: `python -m benchmarks.maps.vivid [natural|nodata|v1|hundred|seconds] ...`.

- natural: source mobilenet_v2_a, natural samples, 10 concepts, 2 seeds (about 7 minutes on 2 quiet cores)
- nodata: the same on the default synthetic samples
- v1: source mobilenet_v1_075, natural samples
- hundred: 100 ImageNet classes drawn with a fixed seed, natural samples, 1 seed (about 35 minutes)
- seconds: how long ten maps take that are made together, anew; for a machine that does nothing else (4 minutes)

The maps of the others go to run directories below runs/, so that a stopped benchmark goes on where it was. Every
network of the zoo reads them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import (
    CONCEPTS,
    NETWORKS,
    ROOT,
    TABLE1,
    hardware,
    images,
    keep,
    logits_of,
    network,
    readings,
    run_folder,
    table,
)
from phosphene.concept_map import ConceptMap
from phosphene.contact_sheet import contact_sheet
from phosphene.recipe import resolve
from phosphene.samples import load_samples
from phosphene.workflows import execute, plan

FIGURES = ROOT / "docs" / "figures"
# name -> source, samples, seeds
CASES = {
    "natural": ("mobilenet_v2_a", images(), 2),
    "nodata": ("mobilenet_v2_a", "synthetic:mixed", 2),
    "v1": ("mobilenet_v1_075", images(), 2),
    "hundred": ("mobilenet_v2_a", images(), 1),
}


def hundred() -> list[int]:
    """Return 100 classes of ImageNet, neither "background" nor one of the ten that the recipe was tuned on."""
    labels = network("mobilenet_v2_a").labels
    tuned = {0, *(labels.find(name) for name in CONCEPTS)}
    others = [index for index in range(len(labels)) if index not in tuned]
    return sorted(np.random.default_rng(100).choice(others, 100, replace=False).tolist())


def measure(case: str) -> dict[str, Any]:
    """Make the maps of a case and have every network read them."""
    source, samples, seeds = CASES[case]
    classifier = network(source)
    recipe = resolve("vivid")
    concepts: list[int | str] = [*hundred()] if case == "hundred" else [*CONCEPTS]
    pool = load_samples(samples, classifier.input.shape)
    # `natural` and `v1` are rows of table 1 as well: their maps are made once.
    own = ROOT / "runs" / f"vivid-{case}-{recipe.sha256[:8]}"
    out = own if case in ("nodata", "hundred") else run_folder(TABLE1, classifier, recipe)
    todo = plan(classifier, recipe, pool, out, concepts, range(seeds))
    execute(todo, done=lambda one: print(one.label, f"{one.p_class:.2f}", file=sys.stderr, flush=True))
    maps = list(todo.run.maps())
    FIGURES.mkdir(parents=True, exist_ok=True)
    shown = [one for one in maps if one.seed == 0]
    names = [one.short for one in shown]
    sheet = contact_sheet([one.image for one in shown], names, columns=10, side=112)
    sheet.save(FIGURES / f"vivid-{case}.webp", quality=85)
    if case == "natural":
        strip = contact_sheet([one.image for one in shown], names, side=168)
        strip.save(FIGURES / "strip.png", optimize=True)
    return {
        "source": source,
        "samples": samples if samples.startswith("synthetic") else "imagenet-sample",
        "maps": len(maps),
        "seconds_a_map": round(statistics.median(one.seconds for one in maps), 1),
        "passes": maps[0].passes,
        "targeting_rate": round(sum(one.targeting_rate or 0 for one in maps) / len(maps), 3),
        "readings": readings(maps),
        "missed": missed(maps),
    }


def missed(maps: Sequence[ConceptMap]) -> dict[str, list[str]]:
    """Return, for every network, the maps that it reads as something else: ``class (seed): what it reads``."""
    found = {}
    for name in NETWORKS:
        said = logits_of(name, maps).argmax(1).tolist()
        labels = network(name).labels
        rows = zip(maps, said, strict=True)
        found[name] = [f"{one.short} ({one.seed}): {labels.short(read)}" for one, read in rows if read != one.index]
    return found


def seconds() -> dict[str, Any]:
    """Make ten maps together, in a folder of their own, and return the seconds of each and of all."""
    classifier = network("mobilenet_v2_a")
    pool = load_samples(images(), classifier.input.shape)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        todo = plan(classifier, resolve("vivid"), pool, folder, [*CONCEPTS])
        execute(todo)
        whole = time.perf_counter() - began
        each = sorted(one.seconds for one in todo.run.maps())
    return {"maps": len(each), "seconds_a_map": round(whole / len(each), 1), "each": [round(one, 1) for one in each]}


def main() -> None:
    """Print a row a case and write benchmarks/results/vivid-CASE.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES, "seconds"])
    rows = []
    for case in parser.parse_args().cases or ["natural", "nodata", "v1"]:
        if case == "seconds":
            keep("vivid-seconds", found := seconds())
            print(found)
            continue
        row = measure(case)
        keep(f"vivid-{case}", {"recipe": resolve("vivid").to_dict(), **row})
        read = row["readings"]
        cells = [f"{read[name]['m_score']:.2f} / {read[name]['top1']:.2f}" for name in NETWORKS]
        rows.append([case, row["source"], *cells, f"{row['passes']:,}", row["seconds_a_map"]])
    print(hardware())
    if rows:
        print(table(["case", "source", *NETWORKS, "passes", "s a map (median)"], rows))


if __name__ == "__main__":
    main()
