"""What the gallery may show of the served folder: the run directories below it, with their images and reports."""

import functools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from phosphene.concept_map import Job
from phosphene.errors import PhospheneError
from phosphene.image_files import encode
from phosphene.runs import RunDirectory
from phosphene.runs.directory import PREVIEW

# Name of the run if the served folder is a run itself.
HERE = "@"
MAX_DEPTH, MAX_BYTES = 5, 100_000_000
THUMBNAIL_SIDE, MAX_PIXELS = 192, 4096 * 4096


class NotHereError(PhospheneError):
    """Raised for a run or file that does not exist, or lies outside the served folder; it does not say which."""


class Folder:
    """The served folder and the run directories in it. What leads out of it, by ``..``, a link or otherwise, does not exist.

    A run's name is its path below the folder, with slashes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def names(self) -> Iterator[str]:
        """Yield the names of run directories, up to 5 folders down.

        Links are not followed, and there is no search in runs and hidden folders.
        """
        for parent, folders, files in os.walk(self.root):
            folder = Path(parent)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if "run.json" in files and self.name(folder).isprintable():
                yield self.name(folder)
            if "run.json" in files or len(folder.relative_to(self.root).parts) >= MAX_DEPTH:
                folders.clear()

    def run(self, name: str) -> RunDirectory:
        """Return the run directory of a name, which is its path below the folder.

        Raises:
            NotHereError: there is none, or it lies outside the folder.
        """
        path = self.file((self.root if name == HERE else self.root / name) / "run.json").parent
        # With "..", or a link on the way, even one that stays inside, it is another name of a listed run.
        if self.name(path) != name or not name.isprintable():
            raise NotHereError("there is no such run here.")
        return RunDirectory(path)

    def name(self, path: Path) -> str:
        """Return the name of the run at a path: the path below the folder, or ``@`` for the folder itself."""
        return HERE if path == self.root else path.relative_to(self.root).as_posix()

    def file(self, path: Path) -> Path:
        """Return a path that begins with the served folder, with its links resolved.

        Raises:
            NotHereError: it is missing, lies outside the folder, is not a regular file, or is larger than 100 MB.
        """
        try:
            real_path = path.resolve(strict=True)
            status = real_path.stat()
        except (OSError, ValueError, RuntimeError):
            raise NotHereError("there is no such file here.") from None
        is_inside = real_path.is_relative_to(self.root)
        if not is_inside or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise NotHereError("there is no such file here.")
        return real_path

    def image(self, run: RunDirectory, index: int, seed: int) -> Path:
        """Return the path of a map's image: ``map.png`` if the map is finished, else a preview.

        Raises:
            NotHereError: the run has no such map, or there is no image of it yet.
        """
        for row in cached_facts(run)["jobs"]:
            if (row["index"], row["seed"]) == (index, seed):
                folder = run.folder(Job(index, seed), row["label"])
                is_finished = (folder / "map.json").exists()
                return self.file(folder / ("map.png" if is_finished else PREVIEW))
        raise NotHereError("the run has no such map.")


def read_cached(read: Callable[[Path], Any], path: Path) -> Any:
    """Return ``read(path)``; the result, but no error, is cached until the file's time or size changes.

    Raises:
        OSError: the file is missing.
    """
    status = path.stat()
    return _read_version(read, path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=20_000)
def _read_version(read: Callable[[Path], Any], path: Path, modified: int, size: int) -> Any:
    """Return ``read(path)``, cached as long as the file's time and size stay the same."""
    return read(path)


def cached_facts(run: RunDirectory) -> dict[str, Any]:
    """Return the content of a run's ``run.json``, cached until the file changes, and so not to be modified.

    Raises:
        OSError: it is missing.
        RunError: it is damaged.
    """
    facts: dict[str, Any] = read_cached(_run_facts, run.path / "run.json")
    return facts


def _run_facts(run_json: Path) -> dict[str, Any]:
    """Return the content of ``run.json``; RunError if it is damaged."""
    return RunDirectory(run_json.parent).facts()


def thumbnail(path: Path) -> bytes:
    """Return the image in a PNG or WebP file, reduced to at most 192 x 192 pixels, as a WebP file.

    Raises:
        NotHereError: it is not an image, or too large.
    """
    try:
        with Image.open(path, formats=("PNG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:  # a small file may be an image that fills the memory
                raise NotHereError("the image is too large to be shown.")
            reduced_image = image.convert("RGB")
            reduced_image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise NotHereError("the image cannot be read.") from None
    return encode(reduced_image, "WEBP", quality=82)
