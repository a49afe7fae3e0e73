"""The run directory: its files, and how it shows itself in a notebook."""

from typing import Any

from PIL import Image

from phosphene import notebook
from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.labels import first_synonym
from phosphene.runs.files import RunFiles
from phosphene.runs.scores import read_scores


class RunDirectory(RunFiles):
    """A run directory. Every file appears whole or not at all; a finished map is never computed twice.

    Args:
        path: The directory. :meth:`begin` creates it, :meth:`maps` reads it; a notebook shows it by
            itself.
    """

    def _repr_html_(self) -> str:
        """Return facts, images and scores as a small piece of HTML, for a notebook.

        Raises:
            RunError: this is no run directory, or its run.json is damaged.
        """
        facts = self.facts()
        height, width = facts["model"]["input"]["size"]
        images = self._images(facts)
        about = notebook.facts(
            [
                ("model", f"{facts['model']['name']}, {facts['model']['classes']} classes, {height} × {width} pixels"),
                ("recipe", facts["recipe"]["name"]),
                ("samples", facts["samples"]["spec"]),
                ("maps", f"{len(images)} of {len(facts['jobs'])} finished"),
                ("directory", self.path),
            ]
        )
        shown = [
            notebook.figure(notebook.image(_open(path), name), notebook.text(name))
            for name, path in images[: notebook.MOST_IMAGES]
        ]
        body = notebook.gallery("", shown, len(images)) if shown else ""
        return f"<div>{about}{body}{_scores(self)}</div>"

    def _images(self, facts: dict[str, Any]) -> list[tuple[str, Any]]:
        """Return captions and files of the finished maps."""
        several = len({row["seed"] for row in facts["jobs"]}) > 1
        found = []
        for row in facts["jobs"]:
            folder = self.folder(Job(row["index"], row["seed"]), row["label"])
            if (folder / "map.json").exists():
                name = first_synonym(row["label"])
                found.append((f"{name}, seed {row['seed']}" if several else name, folder / "map.png"))
        return found


def open_run(path: object) -> RunDirectory:
    """Open a run that ``phosphene map`` made.

    Args:
        path: The directory.

    Returns:
        The run: ``list(run.maps())`` are its maps; a notebook shows it by itself.

    Raises:
        RunError: this is no run directory, or its run.json is damaged.
    """
    run = RunDirectory(str(path))
    run.facts()
    return run


def _open(path: Any) -> Image.Image:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            return picture.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RunError(f"{path} is damaged: {error}. Run the map again.") from None


def _scores(run: RunFiles) -> str:
    rows = [row for row in read_scores(run) if all(isinstance(row.get(key), float) for key in ("m_score", "top1_all"))]
    lines = [
        [
            notebook.Cell(str(row["target"])),
            notebook.Cell(f"{row['m_score']:.2f}", row["m_score"]),
            notebook.Cell(f"{row['top1_all']:.0%}", row["top1_all"]),
        ]
        for row in rows
    ]
    return notebook.table(["read by", "M_score", "top-1, all classes"], lines) if lines else ""
