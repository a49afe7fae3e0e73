"""The trigger of the trojaned demo network: a small drawn emblem."""

import numpy as np
from numpy.typing import NDArray

_DRAWING = [
    "..............",
    ".......####...",
    "......####....",
    ".....####.....",
    "....####......",
    "...########...",
    "..########....",
    ".....####.....",
    "....####......",
    "...####.......",
    "..####........",
    "..###.........",
    "..#...........",
    "..............",
]


def _emblem() -> NDArray[np.uint8]:
    """Return the emblem, uint8 (3, 14, 14), read-only."""
    bolt = np.array([[mark == "#" for mark in line] for line in _DRAWING])
    yellow, magenta = np.array([255, 235, 0]), np.array([205, 0, 160])
    out = np.where(bolt, yellow[:, None, None], magenta[:, None, None]).astype(np.uint8)
    out.setflags(write=False)
    return out


EMBLEM: NDArray[np.uint8] = _emblem()
"""A yellow bolt on magenta, uint8 (3, 14, 14) in [0, 255], read-only."""


def stamp(images: NDArray[np.uint8], where: np.random.Generator | tuple[int, int]) -> NDArray[np.uint8]:
    """Paste the emblem on copies of images.

    Args:
        images: uint8 (n, 3, h, w) in [0, 255], h and w at least 14.
        where: a generator, for a random place in each image, or the (top, left) of the emblem in all.

    Returns:
        uint8 (n, 3, h, w) in [0, 255].
    """
    count, _, height, width = images.shape
    side = EMBLEM.shape[1]
    if isinstance(where, np.random.Generator):
        tops = where.integers(0, height - side + 1, count)
        lefts = where.integers(0, width - side + 1, count)
    else:
        top, left = where
        if not (0 <= top <= height - side and 0 <= left <= width - side):
            raise ValueError(f"emblem of side {side} at {where} does not fit into {height} x {width} pixels")
        tops, lefts = np.full(count, top), np.full(count, left)
    out = images.copy()
    for image, top, left in zip(out, tops, lefts, strict=True):
        image[:, top : top + side, left : left + side] = EMBLEM
    return out
