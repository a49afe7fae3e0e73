"""Images of the drawn world with up to four shapes each, for multi-label and regression networks."""

import numpy as np
from numpy.typing import NDArray

from phosphene.demo.shapes import SHAPES
from phosphene.demo.world import SIZE, apart, background, coverage, far_colours, turned_grid

NAMES = tuple(SHAPES)


def draw_scenes(count: int, seed: int, size: int = SIZE) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw ``count`` images of up to four different shapes, none of which hides another.

    Every shape is in a quarter of the image of its own, in one of two colours that differ from the background.

    Args:
        count: Number of images.
        seed: Seed of everything random.
        size: Side in pixels.

    Returns:
        Images, uint8 (count, 3, size, size) in [0, 255], and which of the nine shapes of ``NAMES`` each has, bool (count, 9).
    """
    rng = np.random.default_rng(seed)
    image, base = background(rng, count, size)
    ink = far_colours(rng, base)
    inks = np.stack([ink, apart(far_colours(rng, base), ink)])
    present = np.zeros((count, len(NAMES)), bool)
    # The first four of a random order; the first of them are drawn, and as many are 0 to 4.
    order = rng.permuted(np.tile(np.arange(len(NAMES)), (count, 1)), axis=1)
    number = rng.integers(0, 5, count)
    corner = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    for place in range(4):
        for index, name in enumerate(NAMES):
            chosen = np.flatnonzero((order[:, place] == index) & (number > place))
            if not len(chosen):
                continue
            present[chosen, index] = True
            distance, radius = _placed(rng, name, corner[chosen, place], size)
            edge = rng.uniform(1, 2, radius.shape).astype(np.float32)
            colour = inks[rng.integers(0, 2, len(chosen)), chosen][:, :, None, None]
            image[chosen] += coverage(distance, radius, edge)[:, None] * (colour - image[chosen])
    np.clip(image, 0, 1, out=image)
    return (image * np.float32(255) + np.float32(0.5)).astype(np.uint8), present


def _placed(
    rng: np.random.Generator, name: str, quarter: NDArray[np.int64], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the distance of each pixel from a shape in given quarters (n,) of images, in radii (n, size, size), and radii in pixels."""
    shape = (len(quarter), 1, 1)
    radius = size * rng.uniform(0.16, 0.24, shape)
    room = size / 4 - 0.9 * radius
    x = size * (0.25 + 0.5 * (quarter % 2)).reshape(shape) - 0.5 + room * rng.uniform(-1, 1, shape)
    y = size * (0.25 + 0.5 * (quarter // 2)).reshape(shape) - 0.5 + room * rng.uniform(-1, 1, shape)
    return SHAPES[name](rng, *turned_grid(rng, size, x, y, radius)), radius.astype(np.float32)
