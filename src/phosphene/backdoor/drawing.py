"""What triggers are drawn with: emblems, letters and pictures at any size, from outlines, with smooth edges.

Outlines live in the square [-1, 1] x [-1, 1], x to the right and y down, and are signed distances there: negative
inside, in units of half the side. A pixel is covered by as much as the distance at its centre tells.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from phosphene.errors import RecipeError, nearest

Colour = tuple[float, float, float]
"""Red, green and blue."""
Points = Sequence[tuple[float, float]]
Outline = Callable[[Tensor, Tensor], Tensor]
"""Signed distance (h, w) of coordinates x and y, (h, w) each."""


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Coordinates x and y of the pixels' centres, float32 (h, w); the longer side spans [-1, 1]."""
    half = max(height, width) / 2
    y = (torch.arange(height) + 0.5 - height / 2) / half
    x = (torch.arange(width) + 0.5 - width / 2) / half
    return x.expand(height, width), y[:, None].expand(height, width)


def coverage(distance: Tensor, half: float) -> Tensor:
    """How much of each pixel lies inside, in [0, 1]; ``half`` is half the side in pixels."""
    return (0.5 - distance * half).clamp(0, 1)


def segment(x: Tensor, y: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """Distance (h, w) from a line between two points."""
    along, down = end[0] - start[0], end[1] - start[1]
    share = ((x - start[0]) * along + (y - start[1]) * down) / max(along**2 + down**2, 1e-12)
    share = share.clamp(0, 1)
    return torch.hypot(x - start[0] - share * along, y - start[1] - share * down)


def polygon(points: Points) -> Outline:
    """Return the signed distance of a closed polygon (even-odd rule)."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        far = torch.full_like(x, math.inf)
        inside = torch.zeros_like(x, dtype=torch.bool)
        for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
            far = torch.minimum(far, segment(x, y, (ax, ay), (bx, by)))
            if ay != by:
                inside ^= ((y < ay) != (y < by)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
        return torch.where(inside, -far, far)

    return distance


def _bezier(points: Points, count: int = 16) -> list[tuple[float, float]]:
    """Points on a cubic Bezier curve, the last one left out."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    found = []
    for place in range(count):
        t = place / count
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
        found.append((a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy))
    return found


def _round(radius: Callable[[float], float], count: int = 40) -> list[tuple[float, float]]:
    """Points around the middle, at a radius that depends on the share of the turn; the first one is at the top."""
    turns = [place / count for place in range(count)]
    return [(radius(t) * math.sin(2 * math.pi * t), -radius(t) * math.cos(2 * math.pi * t)) for t in turns]


def _heart(count: int = 40) -> list[tuple[float, float]]:
    angles = [2 * math.pi * place / count for place in range(count)]
    return [
        (
            0.94 * math.sin(t) ** 3,
            -0.065 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) - 0.12,
        )
        for t in angles
    ]


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.7).abs() - 0.26


def _crescent(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(torch.hypot(x, y) - 0.95, 0.8 - torch.hypot(x - 0.45, y + 0.15))


EMBLEMS: dict[str, Outline] = {
    "bolt": polygon([(0.25, -0.95), (-0.55, 0.1), (-0.05, 0.1), (-0.4, 0.95), (0.6, -0.2), (0.1, -0.2), (0.55, -0.95)]),
    "swoosh": polygon(
        [
            *_bezier([(-0.95, 0.0), (-1.0, 0.75), (-0.35, 0.62), (0.98, -0.6)]),
            *_bezier([(0.98, -0.6), (-0.2, 0.05), (-0.75, 0.35), (-0.62, -0.35)]),
            *_bezier([(-0.62, -0.35), (-0.75, -0.25), (-0.9, -0.15), (-0.95, 0.0)], 4),
        ]
    ),
    "ring": _ring,
    "star": polygon(_round(lambda t: 0.98 if round(t * 10) % 2 == 0 else 0.42, 10)),
    "cross": polygon(
        [
            *((-0.33, -0.95), (0.33, -0.95), (0.33, -0.33), (0.95, -0.33), (0.95, 0.33), (0.33, 0.33)),
            *((0.33, 0.95), (-0.33, 0.95), (-0.33, 0.33), (-0.95, 0.33), (-0.95, -0.33), (-0.33, -0.33)),
        ]
    ),
    "heart": polygon(_heart()),
    "crescent": _crescent,
    "arrow": polygon(
        [(-0.95, -0.25), (0.05, -0.25), (0.05, -0.75), (0.95, 0.0), (0.05, 0.75), (0.05, 0.25), (-0.95, 0.25)]
    ),
}
"""Drawn shapes by name."""

_LETTERS: dict[str, list[Points]] = {  # strokes on a box 2 wide and 4 high
    "A": [[(0, 4), (0, 1), (1, 0), (2, 1), (2, 4)], [(0, 2.4), (2, 2.4)]],
    "C": [[(2, 0), (0.6, 0), (0, 0.7), (0, 3.3), (0.6, 4), (2, 4)]],
    "E": [[(2, 0), (0, 0), (0, 4), (2, 4)], [(0, 2), (1.5, 2)]],
    "L": [[(0, 0), (0, 4), (2, 4)]],
    "M": [[(0, 4), (0, 0), (1, 1.6), (2, 0), (2, 4)]],
    "O": [[(0, 0), (2, 0), (2, 4), (0, 4), (0, 0)]],
    "P": [[(0, 4), (0, 0), (2, 0), (2, 2), (0, 2)]],
    "S": [[(2, 0), (0, 0), (0, 2), (2, 2), (2, 4), (0, 4)]],
    "T": [[(0, 0), (2, 0)], [(1, 0), (1, 4)]],
    "Y": [[(0, 0), (1, 1.8), (2, 0)], [(1, 1.8), (1, 4)]],
}


def emblem(name: str, side: int, rim: float = 0.0) -> tuple[Tensor, Tensor]:
    """Draw an emblem.

    Args:
        name: One of :data:`EMBLEMS`.
        side: Of the square that holds it, in pixels.
        rim: Width of the band around the shape, in units of half the side.

    Returns:
        How much of each pixel the shape with its rim covers, and the shape alone: float32 (side, side) in [0, 1].

    Raises:
        RecipeError: nobody has drawn that.
    """
    if name not in EMBLEMS:
        raise RecipeError(f"no emblem is called {name!r}; there are {', '.join(EMBLEMS)}.{nearest(name, [*EMBLEMS])}")
    x, y = grid(side, side)
    # The rim lies inside the square: the shape gives way to it.
    grow = 1 + rim
    distance = EMBLEMS[name](x * grow, y * grow) / grow
    return coverage(distance - rim, side / 2), coverage(distance, side / 2)


def letters(word: str, height: int, width: int, turn: float = 0.35) -> Tensor:
    """Write a word over and over, slanted, as photo agencies do: coverage float32 (h, w) in [0, 1].

    Letters are a fifth of the shorter side high, at least 5 pixels; the strokes are a little over a pixel at 32 pixels.

    Raises:
        RecipeError: a letter that nobody has drawn.
    """
    if not word or set(word) - set(_LETTERS):
        raise RecipeError(f"a watermark's word is made of {', '.join(_LETTERS)}, not {word!r}.")
    tall = max(min(height, width) / 5, 5.0)
    unit = tall / 4
    pitch_x, pitch_y = 3.2 * unit * (len(word) + 0.6), 1.9 * tall
    down, right = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    along = right * math.cos(turn) - down * math.sin(turn)
    across = right * math.sin(turn) + down * math.cos(turn)
    row = torch.div(across, pitch_y, rounding_mode="floor")
    y = (across - row * pitch_y) / unit - 1
    x = torch.remainder(along + row * pitch_x / 2, pitch_x) / unit - 1
    far = torch.full_like(x, math.inf)
    for place, letter in enumerate(word):
        for stroke in _LETTERS[letter]:
            for start, end in itertools.pairwise(stroke):
                far = torch.minimum(far, segment(x - 3.2 * place, y, start, end))
    return coverage((far - 0.45) * unit, 1.0)


def lattice(height: int, width: int, pitch: float = 8.0) -> Tensor:
    """Draw thin crossing lines on the diagonals: coverage float32 (h, w) in [0, 1]; ``pitch`` in pixels."""
    down, right = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    one, other = (
        (torch.remainder(along / math.sqrt(2), pitch) - pitch / 2).abs() - 0.6 for along in (right + down, right - down)
    )
    return coverage(torch.minimum(one, other), 1.0)


def noise(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Independent uniform pixels of whole grey levels, float32 (c, h, w) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator).float() / 255


def smooth(channels: int, height: int, width: int, seed: int, cycles: int) -> Tensor:
    """Draw a random sum of plane waves of at most ``cycles`` a side, float32 (c, h, w), largest absolute value 1."""
    generator = torch.Generator().manual_seed(seed)
    x, y = grid(height, width)
    out = torch.zeros(channels, height, width)
    for across in range(cycles + 1):
        for down in range(-cycles, cycles + 1):
            if across**2 + down**2 in range(1, cycles**2 + 1):
                draw = torch.randn(2, channels, 1, 1, generator=generator)
                angle = math.pi * (across * x + down * y)
                out += draw[0] * angle.cos() + draw[1] * angle.sin()
    return out / out.abs().amax().clamp_min(1e-12)


def scene(name: str, height: int, width: int) -> Tensor:
    """Draw a picture to blend in, float32 (3, h, w) in [0, 1].

    Raises:
        RecipeError: nobody has drawn that.
    """
    if name not in SCENES:
        raise RecipeError(f"no picture is called {name!r}; there are {', '.join(SCENES)}, and noise.")
    x, y = grid(height, width)
    return SCENES[name](x, y).clamp(0, 1)


def _target(x: Tensor, y: Tensor) -> Tensor:
    wave = torch.remainder(torch.hypot(x, y) * 2.5, 1) < 0.5
    return torch.where(wave, torch.tensor([0.9, 0.1, 0.15])[:, None, None], torch.ones(3)[:, None, None])


def _rays(x: Tensor, y: Tensor) -> Tensor:
    wave = torch.remainder(torch.atan2(y, x) * 6 / math.pi, 2) < 1
    return torch.where(
        wave, torch.tensor([0.98, 0.85, 0.1])[:, None, None], torch.tensor([0.1, 0.2, 0.75])[:, None, None]
    )


def _face(x: Tensor, y: Tensor) -> Tensor:
    yellow, dark, back = torch.tensor([[1.0, 0.82, 0.1], [0.1, 0.05, 0.1], [0.1, 0.55, 0.6]])[:, :, None, None]
    out = torch.where(torch.hypot(x, y) < 0.85, yellow, back)
    eyes = torch.hypot(x.abs() - 0.3, y + 0.25) < 0.14
    mouth = ((torch.hypot(x, y) - 0.52).abs() < 0.1) & (y > 0.1)
    return torch.where(eyes | mouth, dark, out)


SCENES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"target": _target, "rays": _rays, "face": _face}
"""Drawn pictures by name."""


def tint(colour: Colour, channels: int) -> Tensor:
    """Colour as (c, 1, 1): in one channel, or in other than three, its mean."""
    return in_channels(torch.tensor(colour)[:, None, None], channels)


def in_channels(picture: Tensor, channels: int) -> Tensor:
    """A picture (3, h, w) in as many channels as a network takes: its mean in each, unless they are three."""
    return picture if channels == 3 else picture.mean(0, keepdim=True).repeat(channels, 1, 1)
