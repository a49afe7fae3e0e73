"""Draws what triggers are made of, at any size: emblems with Pillow, whole images from formulas.

Emblems are outlines in the square [-1, 1] x [-1, 1], x to the right and y down. Everything is drawn larger and averaged
over the pixels, so that edges are smooth.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageChops, ImageDraw
from torch import Tensor

from phosphene.errors import RecipeError, nearest

Colour = tuple[float, float, float]
"""Red, green and blue."""
Points = Sequence[tuple[float, float]]

SCALE = 8  # emblems are drawn this many times larger


def _arc(radius: float, start: float, end: float, x: float = 0.0, y: float = 0.0) -> Points:
    """Return 48 points on an arc of ``radius`` around (x, y), from angle ``start`` to angle ``end``.

    Angles are in degrees, clockwise from the right.
    """
    angles = np.radians(np.linspace(start, end, 48)).tolist()
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


EMBLEMS: dict[str, list[Points]] = {
    "bolt": [[(0.25, -0.95), (-0.55, 0.1), (-0.05, 0.1), (-0.4, 0.95), (0.6, -0.2), (0.1, -0.2), (0.55, -0.95)]],
    "swoosh": [
        [
            *((-0.95, 0.0), (-0.94, 0.24), (-0.86, 0.39), (-0.71, 0.46), (-0.5, 0.44), (-0.23, 0.32), (0.11, 0.11)),
            *((0.51, -0.19), (0.98, -0.6), (0.44, -0.31), (0.01, -0.09), (-0.31, 0.03), (-0.53, 0.04), (-0.63, -0.08)),
            *((-0.62, -0.35), (-0.82, -0.19)),
        ]
    ],
    "ring": [_arc(0.96, 0, 360), _arc(0.44, 0, 360)],
    "star": [[_arc(0.42 if turn % 2 else 0.98, 36 * turn - 90, 360)[0] for turn in range(10)]],
    "cross": [
        [
            *((-0.33, -0.95), (0.33, -0.95), (0.33, -0.33), (0.95, -0.33), (0.95, 0.33), (0.33, 0.33)),
            *((0.33, 0.95), (-0.33, 0.95), (-0.33, 0.33), (-0.95, 0.33), (-0.95, -0.33), (-0.33, -0.33)),
        ]
    ],
    "heart": [[*_arc(0.48, 140, 360, -0.46, -0.36), *_arc(0.48, 180, 400, 0.46, -0.36), (0.0, 0.92)]],
    "crescent": [[*_arc(0.95, 39, 284), *_arc(0.8, 254, 69, 0.45, -0.15)]],
    "arrow": [[(-0.95, -0.25), (0.05, -0.25), (0.05, -0.75), (0.95, 0.0), (0.05, 0.75), (0.05, 0.25), (-0.95, 0.25)]],
}
"""Closed outlines by name; what lies inside two outlines of an emblem is a hole."""


def emblem(name: str, side: int, rim: float = 0.0) -> tuple[Tensor, Tensor]:
    """Draw a named shape with a rim, ``side`` pixels wide; return masks of the shape with rim and without.

    Args:
        name: One of :data:`EMBLEMS`.
        side: Side of the square that holds the emblem, in pixels.
        rim: Width of the band around the shape, in units of half the side.

    Returns:
        How much of each pixel the shape with its rim covers, and the shape alone: float32 (side, side) in [0, 1].

    Raises:
        RecipeError: there is no such emblem.
    """
    if name not in EMBLEMS:
        raise RecipeError(f"no emblem is called {name!r}; there are {', '.join(EMBLEMS)}.{nearest(name, [*EMBLEMS])}")
    size = side * SCALE
    shape, band = Image.new("L", (size, size)), Image.new("L", (size, size))
    for outline in EMBLEMS[name]:
        # The rim lies inside the square, too: the shape is drawn smaller.
        corners = [tuple((1 + value / (1 + rim)) * size / 2 for value in point) for point in outline]
        filled = Image.new("L", shape.size)
        ImageDraw.Draw(filled).polygon(corners, fill=255)
        shape = ImageChops.difference(shape, filled)
        if rim:
            ImageDraw.Draw(band).line([*corners, *corners[:2]], fill=255, width=round(rim * size), joint="curve")
    return coverage(ImageChops.lighter(shape, band)), coverage(shape)


def coverage(image: Image.Image) -> Tensor:
    """Return how much of each pixel a drawing covers, float32 (h, w) in [0, 1].

    The drawing is a PIL image made 8 times too large, which is averaged down.
    """
    return torch.from_numpy(np.asarray(image.reduce(SCALE), dtype=np.float32) / 255)


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return x and y of all pixel centres, (h, w) each; the longer side of the image spans [-1, 1]."""
    half = max(height, width) / 2
    y, x = ((torch.arange(side, dtype=torch.float32) + 0.5 - side / 2) / half for side in (height, width))
    return x.expand(height, width), y[:, None].expand(height, width)


def noise(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Return an image, float32 (c, h, w) in [0, 1], of values drawn uniformly from the 256 levels k / 255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator).float() / 255


def texture(name: str, colour: Tensor, side: int, seed: int) -> Tensor:
    """Return a patch (c, side, side) of a named texture in ``colour`` (c, 1, 1).

    ``solid`` is the colour, ``checker`` alternates with its complement, ``noise`` is random.

    Raises:
        RecipeError: the name is none of ``solid``, ``checker`` and ``noise``.
    """
    solid = colour.expand(-1, side, side)
    if name == "solid":
        return solid
    if name == "checker":
        odd = (torch.arange(side)[:, None] + torch.arange(side)) % 2
        return torch.where(odd == 0, solid, 1 - solid)
    if name == "noise":
        return noise(len(colour), side, side, seed)
    raise RecipeError(f"texture {name!r} is not one of solid, checker, noise.")


def _rings(x: Tensor, y: Tensor) -> Tensor:
    """Return a scene of red and white rings, float32 (3, h, w) in [0, 1], for :func:`coordinates` x and y."""
    return _two_colours(torch.remainder(torch.hypot(x, y) * 2.5, 1) < 0.5, (0.9, 0.1, 0.15), (1.0, 1.0, 1.0))


def _rays(x: Tensor, y: Tensor) -> Tensor:
    """Return a scene of yellow and blue rays, float32 (3, h, w) in [0, 1], for :func:`coordinates` x and y."""
    odd = torch.remainder(torch.atan2(y, x) * 6 / math.pi, 2) < 1
    return _two_colours(odd, (0.98, 0.85, 0.1), (0.1, 0.2, 0.75))


def _face(x: Tensor, y: Tensor) -> Tensor:
    """Return a scene of a yellow face on teal, float32 (3, h, w) in [0, 1], for :func:`coordinates` x and y."""
    radius = torch.hypot(x, y)
    eyes = torch.hypot(x.abs() - 0.3, y + 0.25) < 0.14
    mouth = ((radius - 0.52).abs() < 0.1) & (y > 0.1)
    head = _two_colours(radius < 0.85, (1.0, 0.82, 0.1), (0.1, 0.55, 0.6))
    return torch.where(eyes | mouth, tint((0.1, 0.05, 0.1), 3), head)


def _two_colours(where: Tensor, one: Colour, other: Colour) -> Tensor:
    """Return an image, float32 (3, h, w), of colour ``one`` where a mask (h, w) is true, else of ``other``."""
    return torch.where(where, tint(one, 3), tint(other, 3))


SCENES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"target": _rings, "rays": _rays, "face": _face}
"""Images to blend in, by name: from coordinates x and y, (h, w) each, to float32 (3, h, w) in [0, 1]."""


def scene(name: str, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Return the image of a blended trigger, float32 (c, h, w) in [0, 1]: noise, or one of :data:`SCENES`.

    Raises:
        RecipeError: there is no such image.
    """
    if name == "noise":
        return noise(*shape, seed)
    if name not in SCENES:
        raise RecipeError(f"no image is called {name!r}; there are {', '.join(SCENES)}, and noise.")
    return in_channels(SCENES[name](*coordinates(*shape[1:])), shape[0])


def tint(colour: Colour, channels: int) -> Tensor:
    """Return an RGB colour as a tensor (channels, 1, 1), its mean in each unless there are three channels."""
    return in_channels(torch.tensor(colour, dtype=torch.float32)[:, None, None], channels)


def in_channels(image: Tensor, channels: int) -> Tensor:
    """Return an RGB image (3, h, w) with ``channels`` channels: its mean over colours in each unless three."""
    return image if channels == 3 else image.mean(0, keepdim=True).repeat(channels, 1, 1)
