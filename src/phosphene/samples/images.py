"""Encoded images: decoded, resized and cropped to a network's input."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene.errors import SamplesError


def decode(file: "Path | BinaryIO", shape: tuple[int, int, int]) -> "np.ndarray | None":
    """Return a decoded image file, resized and cropped to ``shape`` (c, h, w), as a uint8 array; ``None`` if it cannot be read."""
    try:
        # Pillow warns of odd palettes and metadata, and of large images before it refuses larger ones.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            return fit(image, shape)
    except SamplesError:
        raise
    except Exception:  # noqa: BLE001  (on damaged files Pillow's readers raise nearly anything)
        return None


def fit(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """Return a PIL image, resized and centre-cropped to ``shape`` (c, h, w), as a uint8 array; SamplesError unless c is 1, 3 or 4."""
    channels, height, width = shape
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise SamplesError(
            f"image files have 1, 3 or 4 channels, but the network's input has {channels}: give samples as .npz."
        )
    if image.mode.startswith("I"):  # 16 bits; convert() would clip them at 255
        image = Image.fromarray((np.asarray(image, np.float32) / 257).round().clip(0, 255).astype(np.uint8))
    image = image.convert(modes[channels])
    # The crop first: resizing the whole of a very long, thin image would fill the memory.
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    box = (max(left, 0), max(top, 0), min(left + scale * width, image.width), min(top + scale * height, image.height))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def stack(images: Sequence[np.ndarray], shape: tuple[int, int, int]) -> Tensor:
    """Stack uint8 images (c, h, w) into one tensor (n, c, h, w); for no images, an empty one (0, c, h, w) of ``shape``."""
    return torch.from_numpy(np.stack(images)) if images else torch.empty((0, *shape), dtype=torch.uint8)
