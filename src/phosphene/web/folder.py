"""What may be seen of the served folder: the run directories below it, and their pictures and reports."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phosphene.concept_map import Job
from phosphene.errors import PhospheneError, RunError
from phosphene.runs import RunDirectory
from phosphene.runs.directory import PREVIEW

# The served folder may itself be a run: it is called by this name.
HERE = "@"
DEEPEST, MOST_RUNS, MOST_BYTES, MOST_NOTE = 5, 2000, 100_000_000, 50_000_000


class NotHereError(PhospheneError):
    """A run or file that does not exist, or lies outside the served folder. It does not say which."""


class Folder:
    """A folder with run directories in it.

    A run is called by its path below the folder, with slashes. Whatever leads out of the folder, by ``..``, a link or
    otherwise, does not exist.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def names(self) -> Iterator[str]:
        """Yield the names of the run directories, without following links and without looking into runs."""
        count = 0
        for parent, folders, files in os.walk(self.root):
            where = Path(parent).relative_to(self.root)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if "run.json" in files:
                name = where.as_posix() if where.parts else HERE
                folders.clear()
                if name.isprintable():
                    yield name
                    count += 1
            elif len(where.parts) >= DEEPEST:
                folders.clear()
            if count >= MOST_RUNS:
                return

    def run(self, name: str) -> RunDirectory:
        """Return the run of a name.

        Raises:
            NotHereError: there is none, or it lies outside the folder.
        """
        if name == HERE:
            path = self.root
        else:
            parts = name.split("/")
            odd = any(part in {"", ".", ".."} or "\\" in part or not part.isprintable() for part in parts)
            if odd or len(name) > 2000:
                raise NotHereError("there is no such run here.")
            path = self.root.joinpath(*parts)
        note = self.file(path / "run.json", most=MOST_NOTE)
        if note.parent != path:  # a link in the middle, even one that stays inside, is another name of a listed run
            raise NotHereError("there is no such run here.")
        return RunDirectory(path)

    def file(self, path: Path, most: int = MOST_BYTES) -> Path:
        """Return the real place of a file.

        Raises:
            NotHereError: it is missing, lies outside the folder, is no regular file or larger than is believed.
        """
        try:
            real = path.resolve(strict=True)
            facts = real.stat()
        except (OSError, ValueError, RuntimeError):
            raise NotHereError("there is no such file here.") from None
        if not real.is_relative_to(self.root) or not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
            raise NotHereError("there is no such file here.")
        return real

    def facts(self, run: RunDirectory) -> dict[str, Any]:
        """Return a run's ``run.json``.

        Raises:
            NotHereError: it is gone, or leads elsewhere.
            RunError: it is damaged.
        """
        self.file(run.path / "run.json", most=MOST_NOTE)
        try:
            return run.facts()
        except RecursionError:
            raise RunError(f"{run.path / 'run.json'} is damaged: it is nested too deeply.") from None

    def picture(self, run: RunDirectory, facts: dict[str, Any], index: int, seed: int) -> Path:
        """Return a map's picture: the finished one, or its preview.

        Raises:
            NotHereError: the run has no such map, or it has no picture yet.
        """
        for row in facts["jobs"]:
            if (row["index"], row["seed"]) == (index, seed):
                folder = run.folder(Job(index, seed), row["label"])
                finished = (folder / "map.json").exists()
                return self.file(folder / ("map.png" if finished else PREVIEW))
        raise NotHereError("the run has no such map.")
