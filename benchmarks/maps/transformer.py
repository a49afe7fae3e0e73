"""Maps of a vision transformer beside those of two convolutional networks: `python -m benchmarks.maps.transformer`.

Each of three networks of the drawn world makes maps of all twelve classes (recipe `vivid`, 2 seeds), and each classifies
all of them. Prints the table, and writes benchmarks/results/transformer.json, the section `transformer` of
docs/results.md, and the transformer's maps as a figure.
"""

from benchmarks.common import DOCS, hardware, make_maps, write_maps_sheet, write_result, write_section
from benchmarks.maps.table1 import table
from phosphene.demo.world import LABELS
from phosphene.recipe import resolve
from phosphene.sources import load
from phosphene.workflows.score import score_runs

SPECS = ("demo:shapes-vit", "demo:shapes", "demo:shapes-plain")
SEEDS = 2


def main() -> None:
    """Make the maps, have every network classify them, print and write the table."""
    recipe = resolve("vivid")
    runs = [make_maps(load(spec), recipe, LABELS, seeds=SEEDS, samples="demo:shapes") for spec in SPECS]
    scores = score_runs(runs, SPECS)
    text = table(scores, runs)
    print(text, hardware(), sep="\n")
    write_maps_sheet("transformer", list(runs[0].maps()))
    write_result(
        "transformer", {"seeds": SEEDS, "recipe": recipe.to_dict(), "scores": [one.to_dict() for one in scores]}
    )
    write_section(DOCS / "results.md", "transformer", text)


if __name__ == "__main__":
    main()
