"""A drawn world of 43 classes, coloured emblems on smooth grounds, 32 x 32: there to time a scan of so many classes."""

import itertools

import torch
from torch import Tensor

from phosphene.backdoor import drawing
from phosphene.backdoor.training import Labelled

COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.75, 0.2),
    "blue": (0.15, 0.3, 0.95),
    "yellow": (0.95, 0.85, 0.1),
    "white": (0.97, 0.97, 0.97),
    "black": (0.05, 0.05, 0.05),
}
CLASSES = [*itertools.product(COLOURS, drawing.EMBLEMS)][:43]
LABELS = [f"{colour} {shape}" for colour, shape in CLASSES]
SIDE = 32


def pictures(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw emblems of 14 to 26 pixels anywhere: uint8 (n, 3, 32, 32), and their classes (n,)."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(CLASSES), (count,), generator=draw)
    sides = torch.randint(14, 27, (count,), generator=draw).tolist()
    out = torch.empty(count, 3, SIDE, SIDE)
    for picture, label, side in zip(out, labels.tolist(), sides, strict=True):
        colour, shape = CLASSES[label]
        wave = drawing.smooth(3, SIDE, SIDE, int(torch.randint(2**31, (), generator=draw)), 1)
        picture.copy_(0.5 + 0.25 * wave + 0.03 * torch.randn(wave.shape, generator=draw))
        top, left = torch.randint(SIDE - side + 1, (2,), generator=draw).tolist()
        window = picture[:, top : top + side, left : left + side]
        window.lerp_(drawing.tint(COLOURS[colour], 3), drawing.emblem(shape, side)[1])
    return (out.clamp(0, 1) * 255).round().to(torch.uint8), labels


def labelled(count: int = 4000, held: int = 500) -> Labelled:
    """Return pictures with classes, a part held out."""
    return Labelled.split(*pictures(count), held=held)
