"""``synthetic:KIND``: generated samples, so that no data is needed."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from phosphene.errors import SamplesError, nearest
from phosphene.samples.dead_leaves import dead_leaves

COUNT = 320
SEED = 2303

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


KINDS: dict[str, Maker] = {"mixed": mixed, "noise": noise, "pink": pink, "dead-leaves": dead_leaves}
