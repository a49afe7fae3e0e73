"""A folder of image files, searched to the bottom."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from phosphene.errors import SamplesError
from phosphene.samples.pool import chosen, fit, stack

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Decode the images below folder ``where``: uint8 (n, c, h, w), and the names of files that are none.

    Raises:
        SamplesError: the folder cannot be listed, holds no image files, or none that can be decoded.
    """
    folder = Path(where)
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise SamplesError(f"sample folder {folder} cannot be read: {error.strerror}.") from None
    if not files:
        raise SamplesError(f"sample folder {folder} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    pictures: list[np.ndarray] = []
    skipped: list[str] = []
    for position in chosen(len(files)):
        try:
            with Image.open(files[position]) as image:
                pictures.append(fit(image, shape))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            skipped.append(str(files[position].relative_to(folder)))
    if not pictures:
        raise SamplesError(
            f"sample folder {folder}: none of {len(skipped)} files is a readable image ({skipped[0]}, ...)."
        )
    return stack(pictures, shape), skipped
