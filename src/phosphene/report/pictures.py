"""Pictures of the report: each is encoded once, as WebP inside a data URL."""

import base64
import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# All maps of a page together have at most this many pixels a kind of picture: 120 maps at 224 pixels in full.
MOST_PIXELS = 120 * 224 * 224
LEAST_SIDE = 48
# Strengths of the colours at the ends: beyond them lie one in two hundred pixels.
QUANTILE = 0.995
# Blue to orange, and dark blue to yellow: both are told apart whatever the eyes' kind of colour blindness.
DIVERGING = ((22, 72, 138), (104, 160, 212), (247, 247, 245), (240, 163, 94), (160, 72, 10))
SEQUENTIAL = ((0, 34, 78), (62, 76, 108), (124, 123, 120), (188, 175, 111), (254, 232, 56))
LUMINANCE = (0.2126, 0.7152, 0.0722)


def scale_for(maps: int, size: tuple[int, int]) -> float:
    """Return by how much pictures of (height, width) are reduced so that a page of ``maps`` of them stays small."""
    least = min(1.0, LEAST_SIDE / min(size))
    return max(least, min(1.0, math.sqrt(MOST_PIXELS / (maps * size[0] * size[1]))))


def data_url(image: Image.Image, scale: float = 1.0, quality: int = 85) -> str:
    """Encode a picture as WebP, reduced to ``scale``."""
    if scale < 1:
        sides = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(sides, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "WEBP", quality=quality, method=2)  # higher ones take twice the time for 2 % of the bytes
    return webp_url(data.getvalue())


def webp_url(data: bytes) -> str:
    """Return the data URL of a WebP file."""
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def signed(nu: Tensor) -> Image.Image:
    """Show what taking a map away does to the brightness: orange is brighter, blue is darker, white is neither.

    The channels of ``nu`` (c, h, w) are summed with the weights of Rec. 709, or averaged where they are not three.
    """
    weights = torch.tensor(LUMINANCE if len(nu) == 3 else [1 / len(nu)] * len(nu), dtype=torch.float32)
    brightness = -(nu.float().cpu() * weights[:, None, None]).sum(0).numpy()
    limit = max(float(np.quantile(np.abs(brightness), QUANTILE)), 1e-12)
    return _coloured(0.5 + 0.5 * (brightness / limit).clip(-1, 1), DIVERGING)


def strength(xi: Tensor) -> Image.Image:
    """Show weights (1, h, w) in [0, 1]: yellow is strong, dark blue is none."""
    return _coloured(xi.float().cpu()[0].clamp(0, 1).numpy(), SEQUENTIAL)


def _coloured(values: np.ndarray, anchors: tuple[tuple[int, int, int], ...]) -> Image.Image:
    """Colour values in [0, 1], (h, w), by interpolation between ``anchors``."""
    places = np.linspace(0, 1, len(anchors))
    channels = [np.interp(values, places, [anchor[k] for anchor in anchors]) for k in range(3)]
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))
