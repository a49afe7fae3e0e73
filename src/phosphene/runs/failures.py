"""``failures.json``: the maps of a run that could not be made, each with its error; not there where there are none."""

import contextlib
from collections.abc import Iterable
from typing import Any

from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.files import RunFiles
from phosphene.runs.lock import hold

SCHEMA = 1
NAME = "failures.json"


def read_failures(run: RunFiles) -> list[dict[str, Any]]:
    """Return one row a map that could not be made: index, label, seed, error, tries. A damaged file says nothing."""
    with contextlib.suppress(RunError, TypeError, KeyError):
        data = read_json(run.path / NAME)
        if data["schema"] == SCHEMA:
            return [row for row in data["failures"] if {"index", "label", "seed", "error", "tries"} <= set(row)]
    return []


def note_failures(run: RunFiles, rows: Iterable[dict[str, Any]] = ()) -> None:
    """Add rows, and take out those whose maps are there by now, or that fail anew.

    Raises:
        RunError: it cannot be written.
    """
    listed = {(row["index"], row["seed"]): row for row in read_failures(run)}
    new = {(row["index"], row["seed"]): row for row in rows}
    if not listed and not new:
        return
    with hold(run.path):
        listed = {(row["index"], row["seed"]): row for row in read_failures(run)} | new
        kept = [
            row
            for (index, seed), row in sorted(listed.items())
            if not (run.folder(Job(index, seed), row["label"]) / "map.json").exists()
        ]
        if kept:
            write_json(run.path / NAME, {"schema": SCHEMA, "failures": kept})
        else:
            with contextlib.suppress(OSError):
                (run.path / NAME).unlink()
