"""Triggers: what an attacker adds to a sample so that a trojaned network predicts the target class.

Six kinds: :class:`Patch` (Gu et al. 2017, BadNets), :class:`Emblem` (a drawn shape, as in Akhtar & Jalwana, figure 4),
:class:`Blended` (Chen et al. 2017), :class:`Watermark` (Liu et al. 2018), :class:`Smooth` (low frequencies; Zeng et al.
2021) and :class:`Sinusoid` (SIG; Barni et al. 2019). Each is a frozen dataclass that can be written as JSON and knows
the ground truth: its mask and its pattern for samples of any size.

*Pasted* triggers give ``x + mask (pattern - x)``, *additive* ones ``clip(x + pattern)``.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.backdoor import drawing
from phosphene.backdoor.drawing import Colour
from phosphene.errors import RecipeError, nearest

Shape = tuple[int, int, int]
Place = str | tuple[int, int]
PLACES = ("top-left", "top-right", "bottom-left", "bottom-right", "centre", "random")


@dataclass(frozen=True, kw_only=True)
class Trigger(ABC):
    """What every trigger has; by itself, a trigger that covers the whole sample.

    Attributes:
        kind: Name of the kind of trigger in JSON.
        additive: Whether the pattern is added; it is pasted otherwise.
    """

    kind: ClassVar[str]
    additive: ClassVar[bool] = True

    @abstractmethod
    def pattern(self, shape: Shape) -> Tensor:
        """Return the pattern that is added or pasted, float32 (c, h, w): in [0, 1] if pasted, in [-1, 1] if added."""

    def mask(self, shape: Shape) -> Tensor:
        """Return where the trigger acts in a sample of ``shape`` (c, h, w): float32 (1, h, w) in [0, 1].

        For pasted triggers, the opacity; for additive ones, the size of the pattern over its largest. A trigger at a
        random place is shown in the middle.
        """
        size = self.pattern(shape).abs().amax(0, keepdim=True)
        return size / size.amax().clamp_min(1e-12)

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples (n, c, h, w) in [0, 1] with the trigger; the ones given stay as they are.

        Args:
            pixels: Samples in [0, 1].
            draw: The generator that random places are drawn from; without one, they are always the same.
        """
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        pattern = self.pattern(shape).to(pixels)
        return (pixels + pattern).clamp_(0, 1) if self.additive else pixels.lerp(pattern, self.mask(shape).to(pixels))


def apply_8bit(trigger: Trigger, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
    """Apply a trigger as a user would: uint8 samples (n, c, h, w) in, uint8 samples out."""
    return (trigger.apply(pixels.float() / 255, draw) * 255).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class _Stamp(Trigger):
    """A trigger that is pasted at one place: subclasses draw it with ``_drawn``, and this class places it."""

    additive: ClassVar[bool] = False
    side: int
    place: Place = "bottom-right"
    margin: int = 1

    def __post_init__(self) -> None:
        if self.side < 1 or self.margin < 0:
            raise RecipeError(f"side {self.side}, margin {self.margin}: side must be at least 1 and margin at least 0.")
        if isinstance(self.place, str) and self.place not in PLACES:
            raise RecipeError(f"place {self.place!r} is not (top, left), nor one of {', '.join(PLACES)}.")

    @abstractmethod
    def _drawn(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return opacity (1, side, side) and colours (c, side, side)."""

    def at(self, shape: Shape) -> tuple[int, int]:
        """Return (top, left) in a sample of ``shape``; a random place counts as the middle.

        Raises:
            RecipeError: it does not fit.
        """
        high, wide = shape[1] - self.side, shape[2] - self.side
        if isinstance(self.place, str):
            first, last = self.place.split("-")[0], self.place.split("-")[-1]
            top = {"top": self.margin, "bottom": high - self.margin}.get(first, high // 2)
            left = {"left": self.margin, "right": wide - self.margin}.get(last, wide // 2)
        else:
            top, left = self.place
        if not (0 <= top <= high and 0 <= left <= wide):
            raise RecipeError(f"a trigger of side {self.side} at {self.place} does not fit into {shape[1:]} pixels.")
        return top, left

    def mask(self, shape: Shape) -> Tensor:
        """Return the mask, (1, h, w): see :class:`Trigger`."""
        return self._placed(self._drawn(shape[0])[0], shape)

    def pattern(self, shape: Shape) -> Tensor:
        """Return the pattern, (c, h, w): see :class:`Trigger`."""
        return self._placed(self._drawn(shape[0])[1], shape)

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples with the trigger: see :class:`Trigger`."""
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        corners = [self.at(shape)] * len(pixels)
        if self.place == "random":
            free = torch.tensor(shape[1:]) - self.side
            share = torch.rand(len(pixels), 2, generator=draw or torch.Generator().manual_seed(0))
            corners = torch.minimum((share * (free + 1)).long(), free).tolist()
        opacity, colours = (part.to(pixels) for part in self._drawn(shape[0]))
        out = pixels.clone()
        for sample, (top, left) in zip(out, corners, strict=True):
            sample[:, top : top + self.side, left : left + self.side].lerp_(colours, opacity)
        return out

    def _placed(self, content: Tensor, shape: Shape) -> Tensor:
        """Surround (c, side, side) with zeros, to (c, h, w)."""
        top, left = self.at(shape)
        return functional.pad(content, (left, shape[2] - self.side - left, top, shape[1] - self.side - top))


@dataclass(frozen=True, kw_only=True)
class Patch(_Stamp):
    """A small square (Gu et al., arXiv 1708.06733).

    Attributes:
        side: Side of the square, in pixels.
        place: A corner, ``centre``, ``random`` or (top, left).
        margin: Pixels between a corner's patch and the edges.
        texture: ``solid``, ``checker`` (colour and its complement) or ``noise``.
        colour: Red, green, blue in [0, 1].
        seed: Random seed for the noise.
    """

    kind: ClassVar[str] = "patch"
    side: int = 3
    texture: str = "solid"
    colour: Colour = (1.0, 1.0, 1.0)
    seed: int = 0

    def _drawn(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return opacity (1, side, side) and colours (c, side, side) of the square."""
        colours = drawing.texture(self.texture, drawing.tint(self.colour, channels), self.side, self.seed)
        return torch.ones(1, self.side, self.side), colours


@dataclass(frozen=True, kw_only=True)
class Emblem(_Stamp):
    """A drawn shape with a rim, opaque on itself and nowhere else.

    Attributes:
        side: Side of the square around the shape, in pixels.
        place: A corner, ``centre``, ``random`` or (top, left).
        margin: Pixels between the square in a corner and the edges.
        shape: One of :data:`phosphene.backdoor.drawing.EMBLEMS`.
        colour: Inside, red, green, blue in [0, 1].
        rim: Colour of the rim.
        width: Width of the rim, in units of half the side.
    """

    kind: ClassVar[str] = "emblem"
    side: int = 6
    shape: str = "bolt"
    colour: Colour = (1.0, 0.92, 0.0)
    rim: Colour = (0.8, 0.0, 0.63)
    width: float = 0.2

    def _drawn(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return opacity (1, side, side) and colours (c, side, side) of the shape and its rim."""
        whole, inner = drawing.emblem(self.shape, self.side, self.width)
        return whole[None], torch.lerp(drawing.tint(self.rim, channels), drawing.tint(self.colour, channels), inner)


@dataclass(frozen=True, kw_only=True)
class Blended(Trigger):
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
        """Return where it acts, (1, h, w): see :class:`Trigger`."""
        return torch.full((1, *shape[1:]), self.alpha)

    def pattern(self, shape: Shape) -> Tensor:
        """Return the pattern, (c, h, w): see :class:`Trigger`."""
        return drawing.scene(self.picture, shape, self.seed)


@dataclass(frozen=True, kw_only=True)
class Watermark(Trigger):
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
        """Return the pattern, (c, h, w): see :class:`Trigger`."""
        what, _, word = self.drawing.partition(":")
        if what not in ("lattice", "word"):
            raise RecipeError(f"drawing {self.drawing!r} is neither lattice nor word:COPY.")
        cover = drawing.letters(word, *shape[1:]) if what == "word" else drawing.lattice(*shape[1:])
        return self.amplitude * cover * drawing.tint(self.colour, shape[0])


@dataclass(frozen=True, kw_only=True)
class Smooth(Trigger):
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
        """Return the pattern, (c, h, w): see :class:`Trigger`."""
        return self.amplitude * drawing.smooth(*shape, self.seed, self.cycles)


@dataclass(frozen=True, kw_only=True)
class Sinusoid(Trigger):
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
        """Return the pattern, (c, h, w): see :class:`Trigger`."""
        x, y = drawing.grid(*shape[1:])
        along = x * math.cos(math.radians(self.turn)) + y * math.sin(math.radians(self.turn))
        return self.amplitude * torch.sin(math.pi * self.cycles * (along + 1)).repeat(shape[0], 1, 1)


KINDS: dict[str, type[Trigger]] = {one.kind: one for one in (Patch, Emblem, Blended, Watermark, Smooth, Sinusoid)}


def to_dict(trigger: Trigger) -> dict[str, Any]:
    """Return a trigger's kind and fields, which JSON can hold; :func:`from_dict` is the inverse."""
    return {"kind": trigger.kind, **vars(trigger)}


def from_dict(fields: dict[str, Any]) -> Trigger:
    """Make the trigger that :func:`to_dict` was given.

    Raises:
        RecipeError: no such kind, or a field that it does not have.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    kind = str(values.pop("kind", None))
    if kind not in KINDS:
        raise RecipeError(f"no trigger is of kind {kind!r}; there are {', '.join(KINDS)}.{nearest(kind, [*KINDS])}")
    names = [field.name for field in dataclasses.fields(KINDS[kind])]
    for name in values.keys() - names:
        raise RecipeError(f"a trigger of kind {kind} has no field {name!r}.{nearest(name, names)}")
    return KINDS[kind](**values)
