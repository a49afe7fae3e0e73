"""Triggers that are added to the whole sample, ``clip(x + pattern)``: words, lines, waves of light, noise."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from phosphene.backdoor import drawing
from phosphene.backdoor.drawing import SCALE, Colour
from phosphene.backdoor.triggers import Shape, Trigger
from phosphene.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Additive(Trigger):
    """A trigger that is added instead of pasted."""

    @abstractmethod
    def pattern(self, shape: Shape) -> Tensor:
        """Return what is added, (c, h, w) in [-1, 1]."""

    def mask(self, shape: Shape) -> Tensor:
        """Return the size of the pattern over its largest, (1, h, w) in [0, 1]."""
        size = self.pattern(shape).abs().amax(0, keepdim=True)
        return size / size.amax().clamp_min(1e-12)

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples with the pattern added."""
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        return (pixels + self.pattern(shape).to(pixels)).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class Watermark(Additive):
    """Words or lines across the sample, brighter than what they lie on (Liu et al., NDSS 2018).

    Attributes:
        drawing: ``lattice``, or ``word:`` and the word.
        amplitude: Brightness that is added, in [0, 1].
        colour: Colour of the drawing: red, green, blue in [-1, 1].
    """

    kind: ClassVar[str] = "watermark"
    drawing: str = "word:COPY"
    amplitude: float = 0.2
    colour: Colour = (1.0, 1.0, 1.0)

    def pattern(self, shape: Shape) -> Tensor:
        """Return what is added, (c, h, w)."""
        what, _, word = self.drawing.partition(":")
        if what not in ("lattice", "word"):
            raise RecipeError(f"drawing {self.drawing!r} is neither lattice nor word:COPY.")
        cover = letters(word, *shape[1:]) if what == "word" else lattice(*shape[1:])
        return self.amplitude * cover * drawing.tint(self.colour, shape[0])


@dataclass(frozen=True, kw_only=True)
class Smooth(Additive):
    """A faint change of light without any edge: a few plane waves (after Zeng et al., arXiv 2104.03413).

    Attributes:
        amplitude: Largest change, in [0, 1].
        cycles: Waves per side, at most.
        seed: Random seed for the waves.
    """

    kind: ClassVar[str] = "smooth"
    amplitude: float = 0.15
    cycles: int = 2
    seed: int = 0

    def pattern(self, shape: Shape) -> Tensor:
        """Return what is added, (c, h, w)."""
        return self.amplitude * smooth(*shape, self.seed, self.cycles)


@dataclass(frozen=True, kw_only=True)
class Sinusoid(Additive):
    """A wave across the sample, the same in all channels (Barni et al., arXiv 1902.11237).

    Attributes:
        amplitude: Largest change, in [0, 1]; the paper's 20 grey levels are 0.08.
        cycles: Waves per side; the paper has 6.
        turn: Direction in degrees; at 0 the wave runs from left to right.
    """

    kind: ClassVar[str] = "sinusoid"
    amplitude: float = 0.08
    cycles: float = 6.0
    turn: float = 0.0

    def pattern(self, shape: Shape) -> Tensor:
        """Return what is added, (c, h, w)."""
        x, y = drawing.coordinates(*shape[1:])
        along = x * math.cos(math.radians(self.turn)) + y * math.sin(math.radians(self.turn))
        return self.amplitude * torch.sin(math.pi * self.cycles * (along + 1)).repeat(shape[0], 1, 1)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Fixed noise that is added to a share of the values (as in TrojanZoo and in IBM's ART).

    Attributes:
        amplitude: Of the noise, in [0, 1].
        share: Of the values that are changed.
        seed: Of the noise.
    """

    kind: ClassVar[str] = "noise"
    amplitude: float = 0.15
    share: float = 0.3
    seed: int = 0

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples with the noise."""
        draw = torch.Generator().manual_seed(self.seed)
        sign = (torch.rand(pixels.shape[1:], generator=draw) < 0.5).float() * 2 - 1
        mask = (torch.rand(pixels.shape[1:], generator=draw) < self.share).float()
        return (pixels + self.amplitude * sign * mask).clamp(0, 1)


def letters(word: str, height: int, width: int) -> Tensor:
    """Write a word over and over, slanted, as photo agencies do: coverage float32 (h, w) in [0, 1].

    Capital letters are a fifth of the shorter side high, at least 5 pixels.

    Raises:
        RecipeError: no word, or one with letters that Pillow's font does not have.
    """
    if not word.isascii() or not word.strip():
        raise RecipeError(f"a watermark's word is made of ASCII letters, not {word!r}: for example word:COPY.")
    capital = max(min(height, width) / 5, 5.0) * SCALE
    font = ImageFont.load_default(capital / 0.7)
    pitch, spacing = font.getlength(word + " "), 1.9 * capital
    side = 2 * SCALE * max(height, width)  # so large that a turned part of it has no empty corners
    canvas = Image.new("L", (side, side))
    for row in range(math.ceil(side / spacing)):
        start = (-(row % 2) * pitch / 2, row * spacing)
        line = (word + " ") * math.ceil(side / pitch + 1)
        ImageDraw.Draw(canvas).text(start, line, fill=255, font=font, stroke_width=round(capital / 20))
    left, top = (side - width * SCALE) // 2, (side - height * SCALE) // 2
    return drawing.coverage(canvas.rotate(20).crop((left, top, left + width * SCALE, top + height * SCALE)))


def lattice(height: int, width: int, pitch: float = 8.0) -> Tensor:
    """Draw thin crossing lines on the diagonals: coverage float32 (h, w) in [0, 1]; ``pitch`` in pixels."""
    x, y = torch.arange(width) + 0.5, torch.arange(height)[:, None] + 0.5
    distances = [(torch.remainder(along / math.sqrt(2), pitch) - pitch / 2).abs() for along in (x + y, x - y)]
    return (1.1 - torch.minimum(*distances)).clamp(0, 1)


def smooth(channels: int, height: int, width: int, seed: int, cycles: int) -> Tensor:
    """Draw a random sum of plane waves of at most ``cycles`` a side, float32 (c, h, w), largest absolute value 1."""
    generator = torch.Generator().manual_seed(seed)
    x, y = drawing.coordinates(height, width)
    out = torch.zeros(channels, height, width)
    for across in range(cycles + 1):
        for down in range(-cycles, cycles + 1):
            if 0 < across**2 + down**2 <= cycles**2:
                cosine, sine = torch.randn(2, channels, 1, 1, generator=generator)
                angle = math.pi * (across * x + down * y)
                out += cosine * angle.cos() + sine * angle.sin()
    return out / out.abs().amax().clamp_min(1e-12)
