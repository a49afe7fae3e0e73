"""``synthetic:KIND``: generated samples, so that no data is needed."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from phosphene.errors import SamplesError, nearest

COUNT = 320
SEED = 2303
LEAVES = 90  # discs per image of dead leaves; at most 255, because labels are bytes

Maker = Callable[[np.random.Generator, int, tuple[int, int, int]], np.ndarray]


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return 320 generated images of kind ``where``, always the same, uint8 (n, c, h, w), and an empty list.

    Raises:
        SamplesError: there is no such kind.
    """
    if where not in KINDS:
        fix = nearest(where, list(KINDS)) or f" Use one of {', '.join(KINDS)}."
        raise SamplesError(f"no synthetic samples are called {where!r}.{fix}")
    return torch.from_numpy(KINDS[where](np.random.default_rng(SEED), COUNT, shape)), []


def noise(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return images of independent uniform random pixels, uint8 (count, c, h, w)."""
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8)


def pink(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return pink noise from ``rng``, a uint8 array (count, c, h, w): amplitude 1 / frequency as in natural images, around mid-grey."""
    coloured = spectral_noise(rng, np.ones(count), shape)
    return _to_uint8(0.5 + 0.2 * coloured)


def mixed(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return images of one random colour each plus faint noise of random slope and contrast, uint8 (count, c, h, w).

    What a map is subtracted from should neither hide nor support it; plain pink noise hides it.
    """
    colour = rng.uniform(0, 1, (count, shape[0], 1, 1))
    contrast = 0.3 * rng.uniform(0, 1, (count, 1, 1, 1)) ** 2
    noise = spectral_noise(rng, rng.uniform(0.7, 1.5, count), shape)
    # One after the other, because all images in double precision take several times the memory.
    images = np.empty((count, *shape), np.uint8)
    for image, *one in zip(images, colour, contrast, noise, strict=True):
        image[:] = _to_uint8(one[0] + one[1] * one[2])
    return images


def spectral_noise(rng: np.random.Generator, slope: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return noise with amplitude frequency^-slope, one slope per image, float32 (n, c, h, w), mean 0 and deviation 1 per image."""
    _, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf  # no constant part
    out = np.empty((len(slope), *shape), dtype=np.float32)
    for position, steepness in enumerate(slope):
        white = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
        coloured = np.fft.irfft2(white * frequency**-steepness, s=(height, width))
        out[position] = coloured / max(coloured.std(), 1e-12)
    return out


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Return an array of pixels in [0, 1], clipped to that range and rounded, as a uint8 array in [0, 255]."""
    whole: np.ndarray = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return whole


@lru_cache(maxsize=1024)
def _disc(radius: int) -> np.ndarray:
    """Return a mask of a filled disc in its bounding square, bool (2 radius + 1, 2 radius + 1); cached."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    mask: np.ndarray = x * x + y * y <= (radius + 0.5) ** 2
    return mask


def leaf_labels(rng: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Drop 90 discs on each of ``count`` images (h, w); return the number of the topmost one at each pixel.

    The numbers are uint8 (count, h, w), 0 where there is no disc. Radii follow the density r^-3, between 2 % and 45 %
    of the shorter side: every scale then covers the same area, which gives natural images their spectrum.
    """
    height, width = size
    smallest, largest = 0.02 * min(size), 0.45 * min(size)
    # Inverse of the cumulative distribution of r^-3.
    u = rng.random((count, LEAVES))
    radii = (smallest**-2 - u * (smallest**-2 - largest**-2)) ** -0.5
    # The rare large leaves go down first: otherwise one of them often hides the whole image.
    half = LEAVES // 2
    radii[:, :half] = -np.sort(-radii[:, :half], axis=1)
    ys = rng.integers(0, height, (count, LEAVES)).tolist()
    xs = rng.integers(0, width, (count, LEAVES)).tolist()
    pixel_radii = np.maximum(np.rint(radii), 1).astype(int).tolist()
    out = np.zeros((count, height, width), np.uint8)
    for canvas, row_y, row_x, row_r in zip(out, ys, xs, pixel_radii, strict=True):
        for label, (y, x, r) in enumerate(zip(row_y, row_x, row_r, strict=True), start=1):
            top, left = max(y - r, 0), max(x - r, 0)
            patch = canvas[top : y + r + 1, left : x + r + 1]
            mask = _disc(r)[top - y + r :, left - x + r :][: patch.shape[0], : patch.shape[1]]
            patch[mask] = label
    return out


def dead_leaves(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return images of randomly coloured discs that occlude one another (Lee, Mumford & Huang 2001).

    Args:
        rng: source of all randomness; the same state gives the same images.
        count: number of images.
        shape: (c, h, w); the channels are drawn independently.

    Returns:
        uint8 (count, c, h, w) in [0, 255].
    """
    labels = leaf_labels(rng, count, shape[1:])
    colours = rng.integers(0, 256, (count, shape[0], LEAVES + 1), dtype=np.uint8)
    flat = labels.reshape(count, 1, -1)
    out: np.ndarray = np.take_along_axis(colours, flat.astype(np.intp), axis=2)
    return out.reshape(count, *shape)


KINDS: dict[str, Maker] = {"mixed": mixed, "noise": noise, "pink": pink, "dead-leaves": dead_leaves}
