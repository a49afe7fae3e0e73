"""What each setting of `vivid` contributes: `python -m benchmarks.maps.ablations [ROW ...]`, 2 minutes per row.

Every row changes one setting of plain `vivid`, which is without natural statistics of the features: source
mobilenet_v2_a, photographs as samples, the ten concepts, seed 0 (with `--two-seeds`, seeds 0 and 1, for changes that look
promising). The recipe was tuned by mobilenet_v1_075 as the target classifier; mobilenet_v1_050 is held out. Rows that
the result already holds are not measured again (`--again` does). Writes the table of docs/ablations.md, a contact sheet
per row, and benchmarks/results/ablations.json.
"""

import argparse
import json
import re
from typing import Any

from benchmarks.common import (
    CONCEPTS,
    DOCS,
    NETWORKS,
    PHOTOGRAPHS,
    PLAIN,
    RESULTS,
    markdown_table,
    network,
    score_cells,
    target_scores,
    write_maps_sheet,
    write_result,
    write_section,
)
from phosphene.api.mapping import map_concepts
from phosphene.recipe import resolve

SOURCE = "mobilenet_v2_a"
NAME = "ablations"
VIVID = {name: resolve("vivid").to_dict()[name] for name in PLAIN}
# Row -> what differs from plain `vivid`: fields of the recipe, or "recipe", "samples", "precision".
ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "vivid": VIVID,
    "statistics alone": {"statistics": VIVID["statistics"]},
    "soft log-odds alone": {"loss": VIVID["loss"]},
    "colour 0": {"colour": 0.0},
    "colour 1": {"colour": 1.0},
    "loss cross-entropy": {"loss": "cross-entropy"},
    "30 steps": {"steps": 30},
    "60 steps": {"steps": 60},
    "240 steps": {"steps": 240},
    "stop_after 3": {"stop_after": 3},
    "no data": {"samples": "synthetic:mixed"},
    "no views": {"views": 1, "view_least": 1.0, "view_most": 1.0, "view_shift": 0.0},
    "view_turn 10": {"view_turn": 10.0},
    "view_shift 0.3": {"view_shift": 0.3},
    "smoothing 0": {"smoothing": 0.0},
    "smoothing 0.25": {"smoothing": 0.25},
    "radius 30 (paper)": {"radius": 30.0},
    "radius 120": {"radius": 120.0},
    "step_decay 1 (constant step)": {"step_decay": 1.0},
    "batch_size 16, 60 steps": {"batch_size": 16, "steps": 60},
    "then 30 steps of Eq. 2": {"refine_steps": 30},
    "sign test": {"sign_test": True},
    "bf16": {"precision": "bf16"},
    "quick": {"recipe": "quick"},
}


def measure(row: str, seeds: int, figure: str) -> dict[str, Any]:
    """Make the maps of a row, have every network classify them, and write the contact sheet."""
    overrides = dict(ROWS[row]) if "recipe" in ROWS[row] else PLAIN | ROWS[row]
    maps = map_concepts(
        network(SOURCE),
        CONCEPTS,
        samples=overrides.pop("samples", PHOTOGRAPHS),
        recipe=overrides.pop("recipe", "vivid"),
        precision=overrides.pop("precision", "auto"),
        overrides=overrides,
        seeds=seeds,
    )
    write_maps_sheet(figure, maps)
    return {
        "changes": ROWS[row],
        "concepts": len(CONCEPTS),
        "seeds": seeds,
        "passes": round(sum(one.passes for one in maps) / len(maps)),
        "targets": target_scores(maps),
        "sheet": f"{figure}.webp",
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the table: rows of two seeds first, then in the order of ROWS."""
    order = list(ROWS)
    names = sorted(rows, key=lambda name: (rows[name]["seeds"] == 1, order.index(name.removesuffix(" (2 seeds)"))))
    body = [
        [name, *score_cells(row["targets"]), f"{row['passes']:,}", f"[maps](figures/{row['sheet']})"]
        for name, row in ((name, rows[name]) for name in names)
    ]
    return markdown_table(["change", *NETWORKS, "passes per map", "sheet"], body)


def main() -> None:
    """Measure the rows that are asked for and missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW")
    parser.add_argument("--two-seeds", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure rows that the result holds already")
    arguments = parser.parse_args()
    file = RESULTS / f"{NAME}.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else {}
    for row in arguments.rows or ROWS:
        name = f"{row} (2 seeds)" if arguments.two_seeds else row
        if arguments.again or name not in rows or rows[name]["changes"] != ROWS[row]:
            rows[name] = measure(row, 2 if arguments.two_seeds else 1, figure_name(name))
            write_result(NAME, {"rows": rows})
    write_section(DOCS / "ablations.md", "table", table(rows))


def figure_name(row: str) -> str:
    """Return the file name, without its ending, of a row's contact sheet."""
    return "ablation-" + re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")


if __name__ == "__main__":
    main()
