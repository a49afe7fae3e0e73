"""A folder of image files, searched to the bottom."""

import os
from pathlib import Path

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError
from phosphene.samples.pool import chosen, decode, stack

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Decode the images below folder ``where``: uint8 (n, c, h, w), and the names of files that are none.

    Raises:
        SamplesError: the folder cannot be listed, holds no image files, or none that can be decoded.
    """
    folder = Path(where)
    files, skipped = listed(folder)
    pictures: list[np.ndarray] = []
    for position in chosen(len(files)):
        picture = decode(files[position], shape)
        if picture is None:
            skipped.append(_shown(files[position], folder))
        else:
            pictures.append(picture)
    if not pictures:
        raise SamplesError(
            f"sample folder {folder}: none of {len(skipped)} files is a readable image ({skipped[0]}, ...)."
        )
    return stack(pictures, shape), skipped


def listed(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the image files below a folder, sorted, and the names of folders in it that cannot be listed.

    Raises:
        SamplesError: the folder itself cannot be listed, or holds no image files.
    """
    files: list[Path] = []
    skipped: list[str] = []

    def unlisted(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise SamplesError(f"sample folder {folder} cannot be read: {error.strerror}.") from None
        skipped.append(_shown(Path(error.filename), folder))

    for parent, _, names in os.walk(folder, onerror=unlisted):  # Path.rglob passes over what it may not list
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES:
                # pipes and devices would never end; links that lead nowhere are opened, and fail
                odd = os.path.exists(Path(parent, name)) and not Path(parent, name).is_file()  # noqa: PTH110  (ELOOP)
                skipped.append(_shown(Path(parent, name), folder)) if odd else files.append(Path(parent, name))
    files.sort()
    if not files:
        raise SamplesError(f"sample folder {folder} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    return files, skipped


def _shown(path: Path, folder: Path) -> str:
    """Return a name below ``folder`` as text that can be written; on POSIX a name is any bytes."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
