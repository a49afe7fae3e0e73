"""The run directory: its files, and how it shows itself in a notebook."""

from pathlib import Path

from phosphene import notebook
from phosphene.concept_map import MapList
from phosphene.errors import RunError
from phosphene.runs.files import RunFiles
from phosphene.runs.scores import read_scores


class RunDirectory(RunFiles):
    """A run directory. Every file appears whole or not at all; a finished map is never computed twice.

    Args:
        path: The directory. :meth:`begin` creates it, :meth:`maps` reads it; a notebook shows it by
            itself.
    """

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Return facts, images and scores as a small piece of HTML, for a notebook.

        Raises:
            RunError: this is not a run directory, or its run.json is damaged.
        """
        facts = self.facts()
        height, width = facts["model"]["input"]["size"]
        finished = self.finished_folders()
        about = notebook.facts(
            [
                ("model", f"{facts['model']['name']}, {facts['model']['classes']} classes, {height} × {width} pixels"),
                ("recipe", facts["recipe"]["name"]),
                ("samples", facts["samples"]["spec"]),
                ("maps", f"{len(finished)} of {len(facts['jobs'])} finished"),
                ("directory", self.path),
            ]
        )
        shown = MapList(map(self.read, list(finished.values())[: notebook.MOST_IMAGES]))
        body = shown._repr_html_() if shown else ""
        more = f"<p>and {len(finished) - len(shown)} more</p>" if len(finished) > len(shown) else ""
        return f"<div>{about}{body}{more}{_scores(self)}</div>"


def open_run(path: "str | Path") -> RunDirectory:
    """Open a run that ``phosphene map`` made.

    Args:
        path: The directory.

    Returns:
        The run: ``list(run.maps())`` are its maps; a notebook shows it by itself.

    Raises:
        RunError: this is not a run directory, or its run.json is damaged.
    """
    if not isinstance(path, str | Path):
        raise RunError(f"a run is opened by the path of its directory, not by a {type(path).__name__}.")
    run = RunDirectory(path)
    run.facts()
    return run


def _scores(run: RunFiles) -> str:
    """Return the run's scores as an HTML table for notebooks; empty if there are none."""
    rows = [row for row in read_scores(run) if all(isinstance(row.get(key), float) for key in ("m_score", "top1_all"))]
    lines = [
        [
            notebook.Cell(str(row["target"])),
            notebook.Cell(f"{row['m_score']:.2f}", row["m_score"]),
            notebook.Cell(f"{row['top1_all']:.0%}", row["top1_all"]),
        ]
        for row in rows
    ]
    return notebook.table(["target classifier", "M_score", "top-1, all classes"], lines) if lines else ""
