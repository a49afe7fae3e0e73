"""How well `vivid` does: `python -m benchmarks.maps.vivid [natural|nodata|v1|hundred|seconds ...]`.

- natural: source mobilenet_v2_a, photographs as samples, ten concepts, 2 seeds (about 7 minutes on 2 idle cores)
- nodata: the same with `synthetic:mixed` samples
- v1: the same with source mobilenet_v1_075
- hundred: 100 other ImageNet classes, drawn with a fixed seed, 1 seed (about 35 minutes)
- seconds: wall time of ten maps that one command makes; only meaningful on an idle machine (4 minutes)

Maps go to run directories below runs/, so that a stopped benchmark continues where it was. Every network of the zoo
classifies them. Writes benchmarks/results/vivid-CASE.json and docs/figures/vivid-CASE.webp.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    CONCEPTS,
    FIGURES,
    NETWORKS,
    PHOTOGRAPHS,
    ROOT,
    classify,
    hardware,
    make_maps,
    markdown_table,
    network,
    target_scores,
    write_maps_sheet,
    write_result,
)
from phosphene.concept_map import ConceptMap
from phosphene.contact_sheet import contact_sheet
from phosphene.recipe import resolve

# case -> source, samples, seeds
CASES = {
    "natural": ("mobilenet_v2_a", PHOTOGRAPHS, 2),
    "nodata": ("mobilenet_v2_a", "synthetic:mixed", 2),
    "v1": ("mobilenet_v1_075", PHOTOGRAPHS, 2),
    "hundred": ("mobilenet_v2_a", PHOTOGRAPHS, 1),
}


def hundred_classes() -> list[int]:
    """Return 100 classes of ImageNet, without "background" and the ten that the recipe was tuned on."""
    labels = network("mobilenet_v2_a").labels
    tuned = {0, *(labels.find(name) for name in CONCEPTS)}
    others = [index for index in range(len(labels)) if index not in tuned]
    return sorted(np.random.default_rng(100).choice(others, 100, replace=False).tolist())


def measure(case: str) -> dict[str, Any]:
    """Make the maps of a case and have every network classify them."""
    source, samples, seeds = CASES[case]
    recipe = resolve("vivid")
    concepts: Sequence[str | int] = hundred_classes() if case == "hundred" else CONCEPTS
    # The maps of `natural` and `v1` are rows of table 1 as well and lie in its run directories.
    own = ROOT / "runs" / f"vivid-{case}-{recipe.sha256[:8]}" if case in ("nodata", "hundred") else None
    maps = list(make_maps(network(source), recipe, concepts, seeds=seeds, samples=samples, out=own).maps())
    write_maps_sheet(f"vivid-{case}", maps)
    if case == "natural":  # the strip in the README
        first = [one for one in maps if one.seed == 0]
        strip = contact_sheet([one.image for one in first], [one.short for one in first], side=168)
        strip.save(FIGURES / "strip.png", optimize=True)
    return {
        "recipe": recipe.to_dict(),
        "source": source,
        "samples": samples if samples.startswith("synthetic") else "imagenet-sample",
        "maps": len(maps),
        "seconds_per_map": round(statistics.median(one.seconds for one in maps), 1),
        "passes": maps[0].passes,
        "targeting_rate": round(sum(one.targeting_rate or 0 for one in maps) / len(maps), 3),
        "targets": target_scores(maps),
        "misclassified": misclassified(maps),
    }


def misclassified(maps: Sequence[ConceptMap]) -> dict[str, list[str]]:
    """Return for every network the maps that it classifies as something else: ``class (seed): what instead``."""
    errors = {}
    for name in NETWORKS:
        target = network(name)
        labels, predicted = target.labels, classify(target, maps).argmax(1).tolist()
        pairs = zip(maps, predicted, strict=True)
        errors[name] = [
            f"{one.short} ({one.seed}): {labels.short(index)}" for one, index in pairs if index != one.index
        ]
    return errors


def seconds() -> dict[str, Any]:
    """Make ten maps in one call, in a new run directory; return the wall time per map, files included."""
    source = network("mobilenet_v2_a")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = make_maps(source, resolve("vivid"), CONCEPTS, out=Path(folder) / "run")
        whole = time.perf_counter() - began
        each = sorted(one.seconds for one in run.maps())
    return {"maps": len(each), "seconds_per_map": round(whole / len(each), 1), "each": [round(one, 1) for one in each]}


def main() -> None:
    """Measure the cases that are asked for and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES, "seconds"], metavar="CASE")
    rows = []
    for case in parser.parse_args().cases or ["natural", "nodata", "v1"]:
        row = seconds() if case == "seconds" else measure(case)
        write_result(f"vivid-{case}", row)
        if case == "seconds":
            print(row)
            continue
        cells = [f"{row['targets'][name]['m_score']:.2f} / {row['targets'][name]['top1']:.2f}" for name in NETWORKS]
        rows.append([case, row["source"], *cells, f"{row['passes']:,}", row["seconds_per_map"]])
    print(hardware())
    if rows:
        print(markdown_table(["case", "source", *NETWORKS, "passes per map", "seconds per map (median)"], rows))


if __name__ == "__main__":
    main()
