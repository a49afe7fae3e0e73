"""The shapes and textures of the drawn world, as signed distances: negative inside, in units of the shape's radius.

Each function takes a random generator, for its proportions, and the coordinates `u`, `v`, float32 (n, h, w),
turned and scaled so that the shape fills about the unit disc. It returns the distance, float32 (n, h, w).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Shape = Callable[[np.random.Generator, Array, Array], Array]


def _uniform(rng: np.random.Generator, low: float, high: float, like: Array) -> Array:
    """Return a random number per image of ``like`` (n, h, w), float32 (n, 1, 1), from ``low`` to ``high``."""
    return rng.uniform(low, high, (len(like), 1, 1)).astype(np.float32)


def _fold(u: Array, v: Array, arms: int) -> tuple[Array, Array]:
    """Return coordinates (n, h, w) folded into one half of one of `arms` arms around 0.

    A shape drawn there repeats itself in every arm.
    """
    sector = np.float32(2 * np.pi / arms)
    angle = np.abs(np.mod(np.arctan2(v, u) + sector / 2, sector) - sector / 2)
    rho = np.hypot(u, v)
    return rho * np.cos(angle), rho * np.sin(angle)


def star(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to five-pointed stars of random inner radius.

    The inner radius varies around that of the pentagram (0.38).
    """
    inner = _uniform(rng, 0.36, 0.46, u)
    x, y = _fold(u, v, 5)
    edge_x = inner * np.float32(np.cos(np.pi / 5)) - np.float32(1.08)
    edge_y = inner * np.float32(np.sin(np.pi / 5))
    out: Array = ((x - np.float32(1.08)) * edge_y - y * edge_x) / np.hypot(edge_x, edge_y)
    return out


def ring(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to rings of random width."""
    half = _uniform(rng, 0.11, 0.2, u)
    return np.abs(np.hypot(u, v) - (1 - half)) - half


def spiral(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to random spirals of two to three turns."""
    pitch = _uniform(rng, 0.36, 0.48, u)
    sense = np.sign(_uniform(rng, -1, 1, u))
    rho = np.hypot(u, v)
    phase = rho / pitch - sense * np.arctan2(v, u) / np.float32(2 * np.pi)
    arm = (np.abs(np.mod(phase, 1) - np.float32(0.5)) - np.float32(0.25)) * pitch
    out: Array = np.maximum(arm, rho - 1)
    return out


def cross(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to plus signs of random arm width."""
    width = _uniform(rng, 0.2, 0.33, u)
    x, y = np.abs(u), np.abs(v)
    out: Array = np.minimum(np.maximum(x - 1, y - width), np.maximum(x - width, y - 1))
    return out


def triangle(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to a filled equilateral triangle."""
    x, _ = _fold(-u, v, 3)
    return x - np.float32(0.56)


def crescent(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to random crescents: a disc without another disc."""
    offset, radius = _uniform(rng, 0.4, 0.55, u), _uniform(rng, 0.78, 0.88, u)
    out: Array = np.maximum(np.hypot(u, v) - 1, radius - np.hypot(u - offset, v))
    return out


def heart(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to a heart: a square with two discs on top."""
    x, y = np.abs(u) * np.float32(0.62), np.float32(0.55) - v * np.float32(0.62)
    lobe = np.hypot(x - np.float32(0.25), y - np.float32(0.75)) - np.float32(np.sqrt(2) / 4)
    along = np.maximum(x + y, 0) / 2
    tip = np.minimum(np.hypot(x, y - 1), np.hypot(x - along, y - along)) * np.sign(x - y)
    out: Array = np.where(x + y > 1, lobe, tip) / np.float32(0.62)
    return out


def arrow(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to random arrows: a shaft with a triangular head."""
    width, neck = _uniform(rng, 0.13, 0.2, u), _uniform(rng, 0.0, 0.2, u)
    y = np.abs(v)
    shaft = np.maximum(np.maximum(-1 - u, u - neck), y - width)
    slope = np.float32(0.72) / (1 - neck)
    head = np.maximum(neck - u, (y - slope * (1 - u)) / np.sqrt(1 + slope**2))
    out: Array = np.minimum(shaft, head)
    return out


def flower(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to random flowers: six petals around a hole."""
    petal, hole = _uniform(rng, 0.29, 0.34, u), _uniform(rng, 0.2, 0.28, u)
    x, y = _fold(u, v, 6)
    disc = np.hypot(x - np.float32(0.68), y) - petal
    out: Array = np.maximum(np.minimum(disc, np.hypot(u, v) - np.float32(0.6)), hole - np.hypot(u, v))
    return out


def region(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to a random disc or rounded square, for a texture."""
    exponent = np.where(_uniform(rng, 0, 1, u) < 0.5, np.float32(2), np.float32(6))
    out: Array = (np.abs(u) ** exponent + np.abs(v) ** exponent) ** (1 / exponent) - 1
    return out


def stripes(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to endless parallel bars of random period."""
    period, phase = _uniform(rng, 0.36, 0.56, u), _uniform(rng, 0, 1, u)
    out: Array = (np.abs(np.mod(v / period + phase, 1) - np.float32(0.5)) - np.float32(0.25)) * period
    return out


def checkerboard(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to the dark squares of a random, endless checkerboard."""
    side, phase = _uniform(rng, 0.3, 0.45, u), _uniform(rng, 0, 2, u)
    a = np.abs(np.mod(u / side + phase, 2) - 1) - np.float32(0.5)
    b = np.abs(np.mod(v / side + phase, 2) - 1) - np.float32(0.5)
    out: Array = -np.sign(a * b) * np.minimum(np.abs(a), np.abs(b)) * side
    return out


def dots(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Return the signed distance of points (u, v) to endless discs in shifted rows."""
    pitch, phase = _uniform(rng, 0.4, 0.58, u), _uniform(rng, 0, 1, u)
    row = v / pitch + phase
    column = u / pitch + phase + np.floor(row) / 2
    a, b = np.mod(column, 1) - np.float32(0.5), np.mod(row, 1) - np.float32(0.5)
    out: Array = (np.hypot(a, b) - np.float32(0.31)) * pitch
    return out


SHAPES: dict[str, Shape] = {
    "star": star,
    "ring": ring,
    "spiral": spiral,
    "cross": cross,
    "triangle": triangle,
    "crescent": crescent,
    "heart": heart,
    "arrow": arrow,
    "flower": flower,
}
TEXTURES: dict[str, Shape] = {"stripes": stripes, "checkerboard": checkerboard, "polka dots": dots}
