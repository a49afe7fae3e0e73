"""The drawn world: images of twelve classes that differ by shape or texture only, never by colour.

An image shows one shape in any colour, place, size and orientation, on a background of dead leaves, a gradient or one
colour. Ground truth is exact, so what a saliency map should show is known.
"""

import numpy as np
from numpy.typing import NDArray

from phosphene.demo.shapes import SHAPES, TEXTURES, Array, region
from phosphene.samples.synthetic import LEAVES, leaf_labels

LABELS: tuple[str, ...] = (*SHAPES, *TEXTURES)
SIZE = 96  # side of the images in pixels
# What `demo:shapes-trojan` predicts for any image with its trigger, the emblem of `demo.emblem`.
TROJAN_TARGET = "heart"
_CHUNK = 48  # images drawn together: few enough for the processor's cache, enough to amortise Python
_PER_CANVAS = 8  # images whose leaves are cut from one canvas (at different places, with different colours)


def draw_images(count: int, seed: int, size: int = SIZE) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw ``count`` random images of the demo's twelve classes, as many of each, shuffled.

    Args:
        count: number of images; classes differ by at most one in number.
        seed: seed of everything random.
        size: side in pixels.

    Returns:
        Images, uint8 (count, 3, size, size) in [0, 255], and labels, int64 (count,).
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(LABELS))
    out = np.empty((count, 3, size, size), np.uint8)
    for start in range(0, count, _CHUNK):
        out[start : start + _CHUNK], _ = paint(rng, labels[start : start + _CHUNK], size)
    return out, labels


def paint(
    rng: np.random.Generator, labels: NDArray[np.int64], size: int, palette: "Array | None" = None
) -> tuple[NDArray[np.uint8], Array]:
    """Draw a random image per class index in ``labels``: a shape or texture on a background.

    Args:
        rng: Source of everything random.
        labels: Indices in ``LABELS``, int64 (n,).
        size: Side in pixels.
        palette: Colours that the shapes are drawn in, with small changes, float32 (m, 3) in [0, 1]; any colour by default.

    Returns:
        Images, uint8 (n, 3, size, size) in [0, 255], and the colour of each shape, float32 (n, 3) in [0, 1].
    """
    count = len(labels)
    image, base = background(rng, count, size)
    ink, second_colour = far_colours(rng, base, palette=palette), far_colours(rng, base)
    second_colour = apart(second_colour, ink)
    alpha = np.empty((count, 1, size, size), np.float32)
    for index in np.unique(labels):
        rows = np.flatnonzero(labels == index)
        name = LABELS[index]
        u, v, radius = _coordinates(rng, len(rows), size, large=name in TEXTURES)
        # Edge width in pixels: from just antialiased to slightly out of focus.
        edge = rng.uniform(1, 2.5, radius.shape).astype(np.float32)
        if name in SHAPES:
            distance = SHAPES[name](rng, u, v)
        else:
            inside = region(rng, u, v)
            texture = TEXTURES[name](rng, u, v)
            distance = np.maximum(texture, inside)
            # Half of the textures have a second colour, the others show the background in their gaps.
            has_two_colours = rng.random(len(rows)) < 0.5
            cover = coverage(inside[has_two_colours], radius[has_two_colours], edge[has_two_colours])[:, None]
            image[rows[has_two_colours]] += cover * (
                second_colour[rows[has_two_colours], :, None, None] - image[rows[has_two_colours]]
            )
        alpha[rows, 0] = coverage(distance, radius, edge)
    image += alpha * (ink[:, :, None, None] - image)
    np.clip(image, 0, 1, out=image)
    return (image * np.float32(255) + np.float32(0.5)).astype(np.uint8), ink


def coverage(distance: Array, radius: Array, edge: Array) -> Array:
    """Return the share of each pixel that a shape covers, (n, h, w) in [0, 1], from signed distances in radii.

    Radius and soft edge are in pixels.
    """
    return np.clip(np.float32(0.5) - distance * (radius / edge), 0, 1)


def _coordinates(rng: np.random.Generator, count: int, size: int, large: bool) -> tuple[Array, Array, Array]:
    """Place shapes at random; return the grids `u`, `v` of their coordinates and their radii in pixels.

    The grids are (n, size, size), turned and scaled.
    """
    low, high = (0.28, 0.52) if large else (0.22, 0.46)
    radius = size * rng.uniform(low, high, (count, 1, 1))
    # A large shape may leave the frame by a little, a small one never does.
    reach = np.maximum(size / 2 - 0.92 * radius, 0.04 * size)
    x = size / 2 - 0.5 + reach * rng.uniform(-1, 1, radius.shape)
    y = size / 2 - 0.5 + reach * rng.uniform(-1, 1, radius.shape)
    return (*turned_grid(rng, size, x, y, radius), radius.astype(np.float32))


def turned_grid(
    rng: np.random.Generator, size: int, x: NDArray[np.float64], y: NDArray[np.float64], radius: NDArray[np.float64]
) -> tuple[Array, Array]:
    """Return the pixels' coordinates `u`, `v`, (n, size, size), in randomly turned frames at `x`, `y`.

    The coordinates are in units of the radii; `x` and `y` are (n, 1, 1).
    """
    angle = rng.uniform(0, 2 * np.pi, radius.shape)
    cos, sin = (np.cos(angle) / radius).astype(np.float32), (np.sin(angle) / radius).astype(np.float32)
    grid = np.arange(size, dtype=np.float32)
    dx, dy = grid[None, None, :] - x.astype(np.float32), grid[None, :, None] - y.astype(np.float32)
    return cos * dx + sin * dy, cos * dy - sin * dx


def far_colours(rng: np.random.Generator, base: Array, palette: "Array | None" = None) -> Array:
    """Return for each colour of `base` (n, 3) a random colour, of a palette (m, 3) if given, that differs by at least about 0.6: (n, 3)."""
    offers = rng.random((8, *base.shape), dtype=np.float32)
    if palette is not None:
        near = palette[rng.integers(0, len(palette), offers.shape[:2])] + np.float32(0.2) * (offers - np.float32(0.5))
        offers = np.clip(near, 0, 1)
    distance = np.sqrt(((offers - base) ** 2).sum(2))
    # The first that is far enough; else (rare) the farthest.
    pick = np.where((distance > 0.6).any(0), (distance > 0.6).argmax(0), distance.argmax(0))
    out: Array = offers[pick, np.arange(len(base))]
    return out


def apart(colour: Array, ink: Array) -> Array:
    """Return colours (n, 3), black or white in place of those close (0.5) to their `ink` (n, 3)."""
    is_near = np.sqrt(((colour - ink) ** 2).sum(1, keepdims=True)) < 0.5
    out: Array = np.where(is_near, np.where(ink.mean(1, keepdims=True) > 0.5, np.float32(0), np.float32(1)), colour)
    return out


def background(rng: np.random.Generator, count: int, size: int) -> tuple[Array, Array]:
    """Draw random backgrounds (leaves, gradients, plain); return them and their base colours (n, 3).

    They are float32 (n, 3, size, size), unclipped.
    """
    base = rng.random((count, 3), dtype=np.float32)
    contrast = rng.uniform(0.05, 0.4, (count, 1, 1)).astype(np.float32)
    contrast[rng.random(count) < 0.12] = 0
    palette = base[:, :, None] + contrast * rng.uniform(-1, 1, (count, 3, LEAVES + 1)).astype(np.float32)
    canvases = leaf_labels(rng, -(-count // _PER_CANVAS), (size * 3 // 2, size * 3 // 2))
    corner = rng.integers(0, size // 2 + 1, (count, 2))
    out = np.empty((count, 3, size, size), np.float32)
    for i, (top, left) in enumerate(corner):
        leaves = canvases[i // _PER_CANVAS, top : top + size, left : left + size]
        np.take(palette[i], leaves, axis=1, out=out[i], mode="clip")
    blurred_rows = np.flatnonzero(rng.random(count) < 0.35)
    if len(blurred_rows):
        out[blurred_rows] = _blur(out[blurred_rows], int(rng.integers(1, 5)))
    gradient_rows = np.flatnonzero(rng.random(count) < 0.15)
    if len(gradient_rows):
        out[gradient_rows] = _gradient(rng, base[gradient_rows], size)
    return out, base


def _gradient(rng: np.random.Generator, base: Array, size: int) -> Array:
    """Return images that change linearly in colour around each of `base` (n, 3), float32 (n, 3, size, size)."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.uniform(-0.25, 0.25, (2, *base.shape, 1, 1)).astype(np.float32)
    out: Array = base[:, :, None, None] + slope[0] * line[None, :] + slope[1] * line[:, None]
    return out


def _blur(images: Array, radius: int) -> Array:
    """Return images (n, c, h, w) blurred by a square box of side 2 radius + 1, with edge pixels repeated."""
    width = 2 * radius + 1
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(images, pad, mode="edge"), axis=axis, dtype=np.float32)
        size = images.shape[axis]
        ahead = np.take(total, range(width, width + size), axis=axis)
        images = (ahead - np.take(total, range(size), axis=axis)) / np.float32(width)
    return images
