"""Images as files: the bytes of one, and the URL that holds them inside a page."""

import base64
import io
from typing import Any

from PIL import Image


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of a PIL image's file, PNG by default.

    Args:
        image: The image.
        kind: ``PNG``, ``WEBP``, ``GIF`` or ``PDF``.
        options: Options of PIL's encoder.
    """
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def to_data_url(data: bytes, kind: str = "png") -> str:
    """Return the data URL of an image file, which shows it inside a page."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
