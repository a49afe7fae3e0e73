"""Maps of a vision transformer beside those of two convolutional networks: `python -m benchmarks.maps.transformer [CASE ...]`.

Each of three networks of the drawn world makes maps of all twelve classes (2 seeds), and each classifies all of them:

- transformer: with the recipe `vivid` (6 minutes)
- transformer-plain: the same without natural statistics of the features (5 minutes)

Prints the tables, and writes benchmarks/results/CASE.json, the section CASE of docs/results.md (of the second case, of
docs/tried.md), and the transformer's maps as a figure.
"""

import argparse

from benchmarks.common import DOCS, PLAIN, hardware, make_maps, write_maps_sheet, write_result, write_section
from benchmarks.maps.table1 import table
from phosphene.demo.world import LABELS
from phosphene.recipe import resolve
from phosphene.sources import load
from phosphene.workflows.score import score_sources

SPECS = ("demo:shapes-vit", "demo:shapes", "demo:shapes-plain")
SEEDS = 2
CASES = {"transformer": {}, "transformer-plain": PLAIN}


def measure(case: str) -> None:
    """Make the maps of a case, have every network classify them, print and write the table."""
    recipe = resolve("vivid", CASES[case])
    runs = [make_maps(load(spec), recipe, LABELS, seeds=SEEDS, samples="demo:shapes") for spec in SPECS]
    scores = score_sources(runs, SPECS)
    text = table(scores, runs)
    print(text, hardware(), sep="\n")
    write_maps_sheet(case, list(runs[0].maps()))
    write_result(case, {"seeds": SEEDS, "recipe": recipe.to_dict(), "scores": [one.to_dict() for one in scores]})
    write_section(DOCS / ("tried.md" if CASES[case] else "results.md"), case, text)


def main() -> None:
    """Measure the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE")
    for case in parser.parse_args().cases or CASES:
        measure(case)


if __name__ == "__main__":
    main()
