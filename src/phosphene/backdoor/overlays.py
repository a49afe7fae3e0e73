"""Triggers that cover the whole sample: a blended image, a watermark, a smooth change of light, a wave."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from phosphene.backdoor import drawing
from phosphene.backdoor.drawing import Colour
from phosphene.errors import RecipeError

Shape = tuple[int, int, int]


class _Overlay(ABC):
    """A pattern for the whole sample: added to it, unless a subclass pastes it."""

    additive: ClassVar[bool] = True

    @abstractmethod
    def pattern(self, shape: Shape) -> Tensor:
        """Return the pattern, (c, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""

    def mask(self, shape: Shape) -> Tensor:
        """Where it acts, (1, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        size = self.pattern(shape).abs().amax(0, keepdim=True)
        return size / size.amax().clamp_min(1e-12)

    def apply(self, pixels: Tensor, where: "torch.Generator | tuple[int, int] | None" = None) -> Tensor:
        """Return samples with the trigger: see :class:`phosphene.backdoor.triggers.Trigger`."""
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        pattern = self.pattern(shape).to(pixels)
        return (pixels + pattern).clamp_(0, 1) if self.additive else pixels.lerp(pattern, self.mask(shape).to(pixels))


@dataclass(frozen=True, kw_only=True)
class Blended(_Overlay):
    """A whole image, faintly (Chen et al., arXiv 1712.05526).

    Attributes:
        picture: ``noise`` or one of :data:`phosphene.backdoor.drawing.SCENES`.
        alpha: Opacity of the image, in [0, 1].
        seed: Random seed for the noise.
    """

    kind: ClassVar[str] = "blended"
    additive: ClassVar[bool] = False
    picture: str = "face"
    alpha: float = 0.2
    seed: int = 0

    def mask(self, shape: Shape) -> Tensor:
        """Where it acts, (1, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        return torch.full((1, *shape[1:]), self.alpha)

    def pattern(self, shape: Shape) -> Tensor:
        """Return the pattern, (c, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        if self.picture == "noise":
            return drawing.noise(*shape, self.seed)
        if self.picture not in drawing.SCENES:
            raise RecipeError(f"no image is called {self.picture!r}; there are {', '.join(drawing.SCENES)}, and noise.")
        return drawing.in_channels(drawing.SCENES[self.picture](*drawing.grid(*shape[1:])), shape[0])


@dataclass(frozen=True, kw_only=True)
class Watermark(_Overlay):
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
        """Return the pattern, (c, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        what, _, word = self.drawing.partition(":")
        if what not in ("lattice", "word"):
            raise RecipeError(f"drawing {self.drawing!r} is neither lattice nor word:COPY.")
        cover = drawing.letters(word, *shape[1:]) if what == "word" else drawing.lattice(*shape[1:])
        return self.amplitude * cover * drawing.tint(self.colour, shape[0])


@dataclass(frozen=True, kw_only=True)
class Smooth(_Overlay):
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
        """Return the pattern, (c, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        return self.amplitude * drawing.smooth(*shape, self.seed, self.cycles)


@dataclass(frozen=True, kw_only=True)
class Sinusoid(_Overlay):
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
        """Return the pattern, (c, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        x, y = drawing.grid(*shape[1:])
        along = x * math.cos(math.radians(self.turn)) + y * math.sin(math.radians(self.turn))
        return self.amplitude * torch.sin(math.pi * self.cycles * (along + 1)).repeat(shape[0], 1, 1)
