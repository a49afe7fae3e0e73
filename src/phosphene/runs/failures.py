"""``failures.json``: the maps of a run that could not be made, each with its error; absent if there are none."""

import contextlib
from collections.abc import Iterable
from typing import Any

from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.runs.directory import RunDirectory
from phosphene.runs.documents import Document
from phosphene.runs.lock import hold

ROW = {"index": int, "label": str, "seed": int, "error": str, "tries": int}
FAILURES = Document("failures.json", "failures", {"failures": [ROW]}, "Delete it.")


def read_failures(run: RunDirectory) -> list[dict[str, Any]]:
    """Return the rows of ``failures.json``, one per map that could not be made; a damaged file counts as empty."""
    data = None
    with contextlib.suppress(RunError):
        data = FAILURES.read(run.path)
    return data["failures"] if data else []


def note_failures(run: RunDirectory, rows: Iterable[dict[str, Any]] = ()) -> None:
    """Add rows to ``failures.json``, remove those whose maps are finished now, delete the file if none is left; lock the run meanwhile.

    Raises:
        RunError: it cannot be written.
    """
    new = list(rows)
    if not new and not (run.path / FAILURES.name).exists():
        return
    with hold(run.path):
        listed = {(row["index"], row["seed"]): row for row in [*read_failures(run), *new]}
        kept = [
            row
            for (index, seed), row in sorted(listed.items())
            if not (run.folder(Job(index, seed), row["label"]) / "map.json").exists()
        ]
        if kept:
            FAILURES.write(run.path, {"failures": kept})
        else:
            with contextlib.suppress(OSError):
                (run.path / FAILURES.name).unlink()
