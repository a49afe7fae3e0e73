"""Dead leaves: images of discs that occlude one another, with the statistics of natural scenes and no data."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAVES = 90  # leaves per image; at most 255, because labels are bytes


@lru_cache(maxsize=1024)
def _disc(radius: int) -> NDArray[np.bool_]:
    """Return a mask of a filled disc in its bounding square, bool (2 radius + 1, 2 radius + 1); cached."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    mask: NDArray[np.bool_] = x * x + y * y <= (radius + 0.5) ** 2
    return mask


def leaf_labels(rng: np.random.Generator, count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
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


def dead_leaves(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
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
    out: NDArray[np.uint8] = np.take_along_axis(colours, flat.astype(np.intp), axis=2)
    return out.reshape(count, *shape)
