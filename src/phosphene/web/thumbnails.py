"""Small copies of pictures, made when they are asked for and kept in memory for a while."""

import functools
import io
import os
from pathlib import Path

from PIL import Image

from phosphene.web.folder import NotHereError

SIDE = 192
MOST_PIXELS = 4096 * 4096


def thumbnail(path: Path) -> bytes:
    """Return a picture in at most 192 x 192 pixels, as WebP.

    Raises:
        NotHereError: it is no picture, or one of a size that is not believed.
    """
    return _make(path, os.stat(path).st_mtime_ns)  # noqa: PTH116


@functools.lru_cache(maxsize=2000)
def _make(path: Path, changed: int) -> bytes:
    try:
        with Image.open(path, formats=("PNG", "WEBP")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise NotHereError("the picture is too large to be shown.")
            small = picture.convert("RGB")
            small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise NotHereError("the picture cannot be read.") from None
    data = io.BytesIO()
    small.save(data, "WEBP", quality=82)
    return data.getvalue()
