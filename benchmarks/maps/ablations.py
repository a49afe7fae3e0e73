"""What each knob of `vivid` buys: `python -m benchmarks.maps.ablations [ROW ...]`, about four minutes a row on 2 cores.

One change at a time from `vivid`, source mobilenet_v2_a, natural samples, 10 concepts, seed 0; finalists (`--final`)
with 2 seeds, whose maps are those of table 1 where it has them. Tuned by what mobilenet_v1_075 reads; mobilenet_v1_050
is held out and only reported. A row that was measured before is kept; `--again` measures it anew. Writes
docs/ablations.md, a contact sheet a row, and the figures as JSON.
"""

import argparse
import json
import time
from typing import Any

import torch

from benchmarks.common import CONCEPTS, NETWORKS, ROOT, hardware, images, network, read_cells, readings, table
from benchmarks.maps.table1 import make as make_run
from phosphene.concept_map import Job
from phosphene.contact_sheet import contact_sheet
from phosphene.engine import Engine
from phosphene.mapper import in_groups, map_jobs
from phosphene.recipe import resolve
from phosphene.samples import load_samples

SOURCE = "mobilenet_v2_a"
RESULTS = ROOT / "benchmarks" / "results" / "ablate.json"
PAGE = ROOT / "docs" / "ablations.md"
FIGURES = ROOT / "docs" / "figures"

# name -> recipe fields that differ from vivid's; "samples", "recipe" and "precision" are not fields.
ROWS: dict[str, dict[str, Any]] = {
    "vivid": {},
    "no colours": {"colour": 0.0},
    "colours 1": {"colour": 1.0},
    "half the steps, no colours": {"steps": 60, "colour": 0.0},
    "half the steps, colours 1": {"steps": 60, "colour": 1.0},
    "loss: cross-entropy": {"loss": "cross-entropy"},
    "a quarter of the steps": {"steps": 30},
    "half the steps": {"steps": 60},
    "twice the steps": {"steps": 240},
    "stop after 3 steps read": {"stop_after": 3},
    "stop after 5 steps read": {"stop_after": 5},
    "no data": {"samples": "synthetic:mixed"},
    "views scaled by 0.4 to 1.3": {"view_least": 0.4},
    "no views": {"views": 1, "view_least": 1.0, "view_most": 1.0, "view_shift": 0.0},
    "views turned by 10 degrees": {"view_turn": 10.0},
    "shift 0.3": {"view_shift": 0.3},
    "no smoothing": {"smoothing": 0.0},
    "smoothing 0.25": {"smoothing": 0.25},
    "smoothing 0.7": {"smoothing": 0.7},
    "radius 30, as the paper": {"radius": 30.0},
    "radius 120": {"radius": 120.0},
    "step 0.3": {"step_size": 0.3},
    "step does not fall": {"step_decay": 1.0},
    "batch 16, half the steps": {"batch_size": 16, "steps": 60},
    "then 30 steps of Eq. 2": {"refine_steps": 30},
    "sign test": {"sign_test": True},
    "bf16 autocast": {"precision": "bf16"},
    "quick": {"recipe": "quick"},
    "quick with log-odds": {"recipe": "quick", "loss": "log-odds"},
}


def measure(changes: dict[str, Any], seeds: int) -> tuple[dict[str, Any], Any]:
    """Make a row's maps and have every network read them; return the figures and the contact sheet."""
    fields = dict(changes)
    samples, base = fields.pop("samples", images()), fields.pop("recipe", "vivid")
    precision = fields.pop("precision", "auto")
    recipe = resolve(base, fields)
    classifier = network(SOURCE)
    pool = load_samples(samples, classifier.input.shape)
    if seeds > 1 and samples == images() and precision == "auto":
        maps = list(make_run(classifier, recipe, seeds, samples).maps())
        seconds = None  # whenever they were made, and beside what
    else:
        jobs = [Job(classifier.labels.find(name), seed) for name in CONCEPTS for seed in range(seeds)]
        maps = []
        began = time.perf_counter()
        with Engine(classifier, precision=precision) as engine:
            for group in in_groups(jobs, engine, recipe):
                maps += map_jobs(engine, pool, group, recipe)
        seconds = round((time.perf_counter() - began) / len(maps), 1)
    figures = {
        "changes": changes,
        "concepts": len(CONCEPTS),
        "seeds": seeds,
        "threads": torch.get_num_threads(),
        "passes": round(sum(one.passes for one in maps) / len(maps)),
        "seconds": seconds,
        "readings": readings(maps),
    }
    return figures, contact_sheet([one.image for one in maps], [one.short for one in maps], columns=10, side=112)


def main() -> None:
    """Measure the rows that are asked for, or all that are missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS])
    parser.add_argument("--final", action="store_true", help="2 seeds")
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    for name in arguments.rows or ROWS:
        key = f"{name}, final" if arguments.final else name
        if key in kept and not arguments.again and kept[key]["changes"] == ROWS[name]:
            continue
        kept[key], sheet = measure(ROWS[name], 2 if arguments.final else 1)
        FIGURES.mkdir(parents=True, exist_ok=True)
        kept[key]["sheet"] = f"ablate-colours-{''.join(c if c.isalnum() else '-' for c in key)}.webp"
        sheet.save(FIGURES / kept[key]["sheet"], quality=80)
        RESULTS.write_text(json.dumps({"hardware": hardware(), "rows": kept}, indent=1) + "\n")
        print(line(key, kept[key]), flush=True)
    write_page(kept)


def line(name: str, row: dict[str, Any]) -> str:
    """Return a row as one line of text."""
    return f"{name}: " + ", ".join(str(cell) for cell in cells(row))


def cells(row: dict[str, Any]) -> list[str]:
    """Return M_score / top-1 / mean probability for each network, and the cost."""
    return [*read_cells(row["readings"]), f"{row['passes']:,}", f"{row['seconds'] or ''}"]


def write_page(rows: dict[str, dict[str, Any]]) -> None:
    """Put the table into docs/ablations.md, between its markers."""
    head = ["change", *NETWORKS, "passes", "s a map", "sheet"]
    known = list(ROWS)  # rows of knobs that were removed stand last
    place = {name: known.index(base) if (base := name.removesuffix(", final")) in ROWS else len(known) for name in rows}
    order = sorted(rows, key=lambda name: (not name.endswith("final"), place[name]))
    links = {name: f"[maps](figures/{row['sheet']})" if "sheet" in row else "" for name, row in rows.items()}
    body = [[name, *cells(rows[name]), links[name]] for name in order]
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(f"{before}{begin}\n{table(head, body)}\n{end}{rest.partition(end)[2]}")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
