"""``failures.json``: the maps of a run that could not be made, or why its command failed; absent if nothing failed."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from phosphene.concept_map import Job
from phosphene.concepts import name_with_index
from phosphene.errors import RunError
from phosphene.runs.directory import RunDirectory
from phosphene.runs.documents import Document
from phosphene.runs.lock import hold

ROW = {"index": int, "label": str, "seed": int, "error": str, "tries": int}
FAILURES = Document("failures.json", "failures", {"failures": [ROW], "command?": str}, "Delete it.")


def read_failures(run: RunDirectory) -> list[dict[str, Any]]:
    """Return the rows of ``failures.json``, one per map that could not be made; none if it is damaged."""
    return _read(run)["failures"]  # type: ignore[no-any-return]


def failure_lines(run: RunDirectory) -> list[str]:
    """Return ``failures.json`` as lines of text, one per map, and one for a command that failed."""
    data = _read(run)
    return [*map(failure_line, data["failures"]), *([data["command"]] if "command" in data else [])]


def failure_line(row: Mapping[str, Any]) -> str:
    """Return a row of ``failures.json`` as text: name and index of the class, seed, error."""
    return f"{name_with_index(row['index'], row['label'])}, seed {row['seed']}: {row['error']}"


def note_command_failure(run: RunDirectory, error: str) -> None:
    """Write a command's error message into ``failures.json``, unless it lists failed maps.

    Raises:
        RunError: it cannot be written.
    """
    with hold(run.path):
        if not read_failures(run):
            FAILURES.write(run.path, {"failures": [], "command": error})


def _read(run: RunDirectory) -> dict[str, Any]:
    """Return the content of ``failures.json``, without failures if it is missing or damaged."""
    with contextlib.suppress(RunError):
        return FAILURES.read(run.path) or {"failures": []}
    return {"failures": []}


def note_failures(run: RunDirectory, rows: Iterable[dict[str, Any]] = ()) -> None:
    """Add rows to ``failures.json``, and drop those of finished maps and a command's error.

    The run is locked meanwhile. The file is deleted if no row is left.

    Raises:
        RunError: it cannot be written.
    """
    new_rows = list(rows)
    if not new_rows and not (run.path / FAILURES.name).exists():
        return
    with hold(run.path):
        row_of = {(row["index"], row["seed"]): row for row in [*read_failures(run), *new_rows]}
        unfinished_rows = [
            row
            for (index, seed), row in sorted(row_of.items())
            if not (run.folder(Job(index, seed), row["label"]) / "map.json").exists()
        ]
        if unfinished_rows:
            FAILURES.write(run.path, {"failures": unfinished_rows})
        else:
            with contextlib.suppress(OSError):
                (run.path / FAILURES.name).unlink()
