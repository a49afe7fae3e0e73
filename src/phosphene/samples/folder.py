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
    files: list[Path] = []
    skipped: list[str] = []

    def unlisted(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise SamplesError(f"sample folder {folder} cannot be read: {error.strerror}.") from None
        skipped.append(str(Path(error.filename).relative_to(folder)))

    for parent, _, names in os.walk(folder, onerror=unlisted):  # Path.rglob passes over what it may not list
        files += [Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    files.sort()
    if not files:
        raise SamplesError(f"sample folder {folder} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    pictures: list[np.ndarray] = []
    for position in chosen(len(files)):
        picture = decode(files[position], shape)
        if picture is None:
            skipped.append(str(files[position].relative_to(folder)))
        else:
            pictures.append(picture)
    if not pictures:
        raise SamplesError(
            f"sample folder {folder}: none of {len(skipped)} files is a readable image ({skipped[0]}, ...)."
        )
    return stack(pictures, shape), skipped
