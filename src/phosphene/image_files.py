"""Images as files: the bytes of one, and the URL that holds them inside a page."""

import base64
import io
from typing import Any

from PIL import Image


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Return a PIL image enlarged or reduced so that its longer side is ``side`` pixels; the shorter one has at least one pixel."""
    width, height = (max(1, round(side * length / max(image.size))) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a PIL image encoded as the bytes of a file, PNG by default; nothing is written.

    Args:
        image: The image.
        kind: ``PNG``, ``WEBP``, ``GIF`` or ``PDF``.
        options: Options of PIL's encoder.
    """
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def to_data_url(data: bytes, kind: str = "png") -> str:
    """Return the data URL, ``data:image/KIND;base64,...``, of the bytes of an image file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
