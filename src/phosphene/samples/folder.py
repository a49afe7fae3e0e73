"""A folder of image files, searched recursively, but for run directories: their images are maps and not samples."""

import os
from pathlib import Path

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError
from phosphene.samples.images import decode, stack
from phosphene.samples.pool import random_subset

SUFFIXES = {".bmp", ".dcm", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return at most 2,048 images below a folder, uint8 (n, c, h, w) fitted to ``shape``, and names of files skipped; SamplesError if none.

    Raises:
        SamplesError: the folder cannot be listed, holds no image files, or none that can be decoded.
    """
    folder = Path(where)
    files, skipped = image_files(folder)
    images: list[np.ndarray] = []
    for position in random_subset(len(files)):
        image = decode(files[position], shape)
        if image is None:
            skipped.append(_printable(files[position], folder))
        else:
            images.append(image)
    if not images:
        raise SamplesError(
            f"sample folder {folder}: none of {len(skipped)} files is a readable image ({skipped[0]}, ...)."
        )
    return stack(images, shape), skipped


def image_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return sorted paths of all image files below a folder, and names of skipped run directories and unreadable paths; or SamplesError.

    Raises:
        SamplesError: the folder itself cannot be listed, or holds no image files.
    """
    files: list[Path] = []
    skipped: list[str] = []

    def on_error(error: OSError) -> None:
        """Error callback of ``os.walk``: raise SamplesError if the folder itself cannot be listed, record a subfolder as skipped."""
        if Path(error.filename) == folder:
            raise SamplesError(f"sample folder {folder} cannot be read: {error.strerror}.") from None
        skipped.append(_printable(Path(error.filename), folder))

    for parent, below, names in os.walk(folder, onerror=on_error):  # Path.rglob omits what it may not list
        if "run.json" in names:
            below.clear()
            skipped.append(f"{_printable(Path(parent), folder)} (a run directory)")
            continue
        for path in (Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES):
            # Reading a pipe or device would never end; a broken link is opened, and fails.
            special = os.path.exists(path) and not path.is_file()  # noqa: PTH110  (ELOOP)
            skipped.append(_printable(path, folder)) if special else files.append(path)
    files.sort()
    if not files and skipped and skipped[0].endswith("(a run directory)"):
        raise SamplesError(
            f"sample folder {folder} holds images in run directories only, and these are maps: give a folder of "
            "natural images."
        )
    if not files:
        raise SamplesError(f"sample folder {folder} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    return files, skipped


def _printable(path: Path, folder: Path) -> str:
    """Return a path relative to ``folder`` as text that can be printed, since on POSIX a file name may hold any bytes."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
