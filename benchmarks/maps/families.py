"""Maps between families of ImageNet networks: `python -m benchmarks.maps.families [CASE ...] [--sources NAME ...]`.

- ten: every network of the zoo as source and as target, ten concepts, 2 seeds (half an hour on 2 cores)
- plain: the same without natural statistics of the features (half an hour)
- mirrored: the same of EfficientNet-Lite0 and SqueezeNet, also with `view_mirror` (10 minutes)
- centred: by three of the networks, with `centre` 0.7 (half an hour)
- hundred-squeezenet: the hundred classes of `benchmarks.maps.vivid`, 1 seed, source SqueezeNet (40 minutes)
- hundred-lite: the same, source EfficientNet-Lite0 (20 minutes)
- hundred-plain: the same of both, without natural statistics (an hour)

The recipe is `vivid`, the samples are photographs. Maps go to run directories below runs/, so that a stopped benchmark
continues where it was. Prints the tables; those of all sources are also written to benchmarks/results/families-CASE.json,
their maps to docs/figures/, and the tables to docs/results.md (those of a changed recipe to docs/tried.md).
"""

import argparse
import json
import statistics
from typing import Any

from benchmarks.common import (
    CONCEPTS,
    DOCS,
    NETWORKS,
    PLAIN,
    RESULTS,
    ROOT,
    hardware,
    make_maps,
    markdown_table,
    network,
    run_folder,
    write_maps_sheet,
    write_result,
    write_section,
)
from benchmarks.maps.table1 import result_row, table
from benchmarks.maps.vivid import hundred_classes
from phosphene.recipe import resolve
from phosphene.workflows.score import score_sources

OTHERS = ("efficientnet_lite0", "squeezenet")  # beside the MobileNets
FAMILIES = (*NETWORKS, *OTHERS)
MAPS = 20  # of the ten concepts, per source
# By case: sources, how many seeds, changes of the recipe.
CASES: dict[str, tuple[tuple[str, ...], int, dict[str, Any]]] = {
    "ten": (FAMILIES, 2, {}),
    "plain": (FAMILIES, 2, PLAIN),
    "mirrored": (OTHERS, 2, PLAIN | {"view_mirror": True}),
    "centred": (("mobilenet_v1_050", *OTHERS), 2, {"centre": 0.7}),
    "hundred-squeezenet": (("squeezenet",), 1, {}),
    "hundred-lite": (("efficientnet_lite0",), 1, {}),
    "hundred-plain": (OTHERS, 1, PLAIN),
}


def measure(case: str, sources: "list[str]") -> tuple[str, list[dict[str, Any]]]:
    """Make a case's maps of some sources, and have all networks classify them; return the table and the rows for the result."""
    _, seeds, changes = CASES[case]
    recipe, labels = resolve("vivid", changes), network("mobilenet_v2_a").labels
    hundred = case.startswith("hundred")
    concepts = [labels[index] for index in hundred_classes()] if hundred else CONCEPTS
    runs = []
    for name in sources:
        source = network(name)
        shared = run_folder(source, recipe)  # the ten concepts' maps are rows of table 1, too
        out = ROOT / "runs" / f"hundred-{shared.name}" if hundred else shared
        runs.append(make_maps(source, recipe, concepts, seeds=seeds, out=out))
        write_maps_sheet(f"families-{case}-{name}", list(runs[-1].maps()))
    scores = score_sources(runs, [network(name) for name in FAMILIES])
    return table(scores, runs), [result_row(score) for score in scores]


def difference() -> str:
    """Return the table of what natural statistics change, from the stored results of the cases ten and plain."""
    cases = [json.loads((RESULTS / f"families-{case}.json").read_text())["scores"] for case in ("plain", "ten")]
    rows = []
    for source in FAMILIES:
        others = [[row for row in case if row["source"] == source != row["target"]] for case in cases]
        right = [f"{MAPS * sum(row['top1_all'] for row in case):.0f}" for case in others]
        scores = [f"{statistics.mean(row['m_score'] for row in case):.3f}" for case in others]
        rows.append([source, *right, *scores])
    head = ("right of 100, plain", "`vivid`", "mean `M_score`, plain", "`vivid`")
    return markdown_table(["source", *head], rows)


def main() -> None:
    """Measure the cases that are asked for, print their tables, and write those of all sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE")
    parser.add_argument("--sources", nargs="+", choices=FAMILIES, default=FAMILIES)
    arguments = parser.parse_args()
    for case in arguments.cases or CASES:
        sources = [name for name in CASES[case][0] if name in arguments.sources]
        text, rows = measure(case, sources)
        print(f"{case}:\n\n{text}\n", flush=True)
        if len(sources) == len(CASES[case][0]):
            write_result(f"families-{case}", {"recipe": resolve("vivid", CASES[case][2]).to_dict(), "scores": rows})
            page = "tried.md" if CASES[case][2] else "results.md"
            write_section(DOCS / page, f"families-{case}", text)
            if case in ("ten", "plain"):
                write_section(DOCS / "tried.md", "families-difference", difference())
    print(hardware())


if __name__ == "__main__":
    main()
