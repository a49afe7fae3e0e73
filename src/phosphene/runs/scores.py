"""``scores.json``: how target classifiers score a run's maps, one row per target."""

from collections.abc import Mapping, Sequence
from typing import Any

from phosphene import notebook
from phosphene.errors import RunError
from phosphene.formats import BEYOND, TOP1_OF_SIDES, percent
from phosphene.runs.directory import RunDirectory, hash_of_maps
from phosphene.runs.documents import Document
from phosphene.runs.lock import hold

NAME = "scores.json"
ROW = {"target": str, "target_sha256": str, "maps_sha256": str, "per_concept?": [{"index": int, "maps": int}]}
SCORES = Document(NAME, "scores", {"rows": [ROW]}, "Delete it and score again.")


def read_scores(run: RunDirectory, *, changed: bool = False) -> list[dict[str, Any]]:
    """Return the rows of ``scores.json``, one per target, whose maps are in the run as they were; if ``changed``, all rows.

    There are none if there is no file. The run may have more maps: see :func:`count_scored`.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    data = SCORES.read(run.path)
    if data is None:
        return []
    has_contrasts = any("against" in job for job in run.facts()["jobs"])
    # Rows that count contrasts among the other maps are of an earlier version: they are scored again.
    rows = [row for row in data["rows"] if "contrasts" in row or not has_contrasts]
    if changed:
        return rows
    hashes = run.map_hashes()
    return [row for row in rows if count_scored(hashes, row)]


def count_scored(hashes: Mapping[tuple[int, int], str], row: dict[str, Any]) -> int:
    """Return how many of a run's maps a row of ``scores.json`` is of; 0 if any of these has changed since.

    They are all maps, or in a run that has grown the first ones of each concept of the row.

    Args:
        hashes: The run's ``map_hashes()``.
        row: The row.
    """
    if row["maps_sha256"] == hash_of_maps(hashes):
        return len(hashes)
    left = {one["index"]: one["maps"] for one in row.get("per_concept", ())}
    scored = {}
    for (index, seed), sha256 in hashes.items():
        if left.get(index):
            left[index] -= 1
            scored[index, seed] = sha256
    return len(scored) if row["maps_sha256"] == hash_of_maps(scored) else 0


def write_scores(run: RunDirectory, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows, one per target, into ``scores.json``, and drop those of changed maps.

    Args:
        run: The run whose maps were scored.
        rows: With ``target``, ``target_sha256`` and ``maps_sha256``.

    Raises:
        RunError: the maps have changed since they were scored, or the file is damaged or cannot be written.
    """
    with hold(run.path):
        now = run.maps_sha256()
        if any(row["maps_sha256"] != now for row in rows):
            raise RunError(f"the maps of {run.path} changed while they were scored: score them again.")
        by_target = {
            (row["target"], row["target_sha256"]): row
            for row in [*read_scores(run, changed=True), *rows]
            if row["maps_sha256"] == now
        }
        SCORES.write(run.path, {"rows": list(by_target.values())})


def scores_table(run: RunDirectory) -> str:
    """Return the run's scores as an HTML table for notebooks; empty text if there are none."""
    rows = [row for row in read_scores(run) if isinstance(row.get("top1_all"), float)]
    of_contrasts = rows and all(row.get("contrasts") == row.get("maps") for row in rows)
    has_contrasts = not of_contrasts and any(isinstance(row.get("top1_contrasts"), float) for row in rows)
    figures = {
        "m_score": "{:.2f}".format,
        "top1_all": percent,
        **({"top1_contrasts": percent} if has_contrasts else {}),
    }
    lines = [
        [
            str(row["target"]),
            *(
                notebook.Cell(form(row[name]), row[name]) if isinstance(row.get(name), float) else "-"
                for name, form in figures.items()
            ),
        ]
        for row in rows
    ]
    of_outputs = any("output" in row.get("unit", {}) for row in run.facts()["jobs"]) if rows else False
    rate = BEYOND if of_outputs else TOP1_OF_SIDES if of_contrasts else "top-1, all classes"
    head = ["target classifier", "M_score", rate, *([f"contrasts: {TOP1_OF_SIDES}"] if has_contrasts else [])]
    return notebook.piece("table", head, lines) if lines else ""
