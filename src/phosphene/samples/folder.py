"""A folder of image files, searched recursively, but for run directories: their images are maps and not samples."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from phosphene.errors import SamplesError, first_few
from phosphene.samples.images import IMAGE_SUFFIXES, complaint, decode, read_some
from phosphene.samples.tar import SUFFIXES as TAR_SUFFIXES
from phosphene.textfile import exists, is_file

ARCHIVE_SUFFIXES = (".npz", *TAR_SUFFIXES)  # of files that are samples of their own


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return at most 2,048 images below a folder, uint8 (n, c, h, w) fitted to ``shape``, and skipped files.

    The latter are their names.

    Raises:
        SamplesError: the folder cannot be listed, holds no image files, or none that can be decoded.
    """
    folder = Path(where)
    files, skipped = image_files(folder)
    images, unreadable = read_some(
        len(files), lambda place: decode(files[place], shape), lambda place: _printable(files[place], folder), shape
    )
    if not len(images):
        first_file = f"{_printable(files[0], folder)}: {complaint(files[0], shape)}"
        raise SamplesError(f"sample folder {folder}: none of {len(files)} files is a readable image ({first_file}).")
    return images, [*skipped, *unreadable]


def image_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the sorted paths of all image files below a folder, and the names of what is skipped.

    Run directories are skipped. Links to folders are followed.

    Raises:
        SamplesError: the folder itself cannot be listed, or holds no image files.
    """
    files: list[Path] = []
    skipped: list[str] = []

    def on_error(error: OSError) -> None:
        """Raise SamplesError if the folder itself cannot be listed; record a subfolder as skipped."""
        if Path(error.filename) == folder:
            raise SamplesError(f"sample folder {folder} cannot be read: {error.strerror}.") from None
        skipped.append(_printable(Path(error.filename), folder))

    for parent, below, names in walk(folder, on_error):
        if "run.json" in names:
            below.clear()
            skipped.append(f"{_printable(parent, folder)} (a run directory)")
            continue
        for path in (parent / name for name in names):
            is_image = path.suffix.lower() in IMAGE_SUFFIXES
            if is_image and is_file(path):  # reading a pipe or device would never end
                files.append(path)
            elif is_image or (path.is_symlink() and not exists(path)):
                skipped.append(f"{_printable(path, folder)} (a broken link, or not a regular file)")
    files.sort()
    if not files and skipped and skipped[0].endswith("(a run directory)"):
        raise SamplesError(
            f"sample folder {folder} holds images in run directories only, and these are maps: give a folder of "
            "natural images."
        )
    if not files:
        skipped_note = f"; skipped: {first_few(skipped, 3)}" if skipped else ""
        archives = [name for _, _, names in walk(folder) for name in names if name.lower().endswith(ARCHIVE_SUFFIXES)]
        hint = f" Give one of its files as samples, such as {first_few(archives, 1)}." if archives else ""
        raise SamplesError(
            f"sample folder {folder} holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))}){skipped_note}.{hint}"
        )
    return files, skipped


def walk(
    folder: Path, on_error: "Callable[[OSError], None] | None" = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder at and below ``folder`` once, as ``os.walk`` does, and then the folders that links lead to.

    A link to a folder that holds the link is not followed. ``Path.rglob`` follows no links, and omits what it may not list.
    """
    resolved_folders: set[Path] = set()
    starts = [folder]
    for start in starts:  # which grows: real folders come before links to them, wherever these lie
        for parent, below, names in os.walk(start, onerror=on_error):
            here = Path(parent)
            resolved = here.resolve()
            if resolved in resolved_folders or (
                here.is_symlink() and here != folder and here.parent.resolve().is_relative_to(resolved)
            ):
                below.clear()
                continue
            resolved_folders.add(resolved)
            below.sort()
            yield here, below, names
            starts += [here / name for name in below if (here / name).is_symlink()]


def _printable(path: Path, folder: Path) -> str:
    """Return a path relative to ``folder`` as printable text: on POSIX a file name may hold any bytes."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
