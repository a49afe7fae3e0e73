"""Triggers: what an attacker adds to a sample so that a trojaned network predicts the target class.

Three kinds: :class:`Patch` (Gu et al. 2017, BadNets), :class:`Emblem` (a drawn shape, as in Akhtar & Jalwana, figure 4)
and :class:`Blended` (Chen et al. 2017). Each is a frozen dataclass that can be written as JSON and knows the ground
truth: its mask and its pattern for samples of any size.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.backdoor import drawing
from phosphene.backdoor.drawing import Colour
from phosphene.checked import checked
from phosphene.errors import RecipeError, nearest

Shape = tuple[int, int, int]
Place = str | tuple[int, int]
PLACES = ("top-left", "top-right", "bottom-left", "bottom-right", "centre", "random")


@dataclass(frozen=True, kw_only=True)
class Trigger(ABC):
    """Base class of triggers to plant: a pattern that is blended into samples, ``x + mask (pattern - x)``.

    Attributes:
        kind: Name of the kind of trigger in JSON.
    """

    kind: ClassVar[str]

    @abstractmethod
    def mask(self, shape: Shape) -> Tensor:
        """Return the trigger's opacity in a sample of ``shape`` (c, h, w), as float32 (1, h, w) in [0, 1].

        A trigger at a random place is shown in the middle.
        """

    @abstractmethod
    def pattern(self, shape: Shape) -> Tensor:
        """Return the trigger's colours in a sample of ``shape`` (c, h, w), as float32 (c, h, w) in [0, 1].

        They count where the mask is above 0.
        """

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return a copy of samples (n, c, h, w) in [0, 1] with the trigger on each.

        Args:
            pixels: Samples in [0, 1].
            draw: The generator that random places are drawn from; without one, they are always the same.
        """
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        return pixels.lerp(self.pattern(shape).to(pixels), self.mask(shape).to(pixels))


@checked
def apply_8bit(trigger: Trigger, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
    """Return uint8 samples (n, c, h, w) with a trigger on each, rounded as in an attacked image file."""
    return (trigger.apply(pixels.float() / 255, draw) * 255).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class _Stamp(Trigger):
    """Base class of triggers that are pasted in a small square, at a given place or at random ones.

    Subclasses draw the square's content.
    """

    side: int
    place: Place = "bottom-right"
    margin: int = 1

    def __post_init__(self) -> None:
        if self.side < 1 or self.margin < 0:
            raise RecipeError(f"side {self.side}, margin {self.margin}: side must be at least 1 and margin at least 0.")
        if isinstance(self.place, str) and self.place not in PLACES:
            raise RecipeError(f"place {self.place!r} is not (top, left), nor one of {', '.join(PLACES)}.")

    @abstractmethod
    def _content(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the square's opacity, (1, side, side), and colours, (channels, side, side), in [0, 1]."""

    def top_left(self, shape: Shape) -> tuple[int, int]:
        """Return (top, left) of the trigger's square in a sample of ``shape`` (c, h, w).

        A square at a random place is centred.

        Raises:
            RecipeError: it does not fit.
        """
        max_top, max_left = shape[1] - self.side, shape[2] - self.side
        if isinstance(self.place, str):
            vertical, horizontal = self.place.split("-")[0], self.place.split("-")[-1]
            top = {"top": self.margin, "bottom": max_top - self.margin}.get(vertical, max_top // 2)
            left = {"left": self.margin, "right": max_left - self.margin}.get(horizontal, max_left // 2)
        else:
            top, left = self.place
        if not (0 <= top <= max_top and 0 <= left <= max_left):
            raise RecipeError(f"a trigger of side {self.side} at {self.place} does not fit into {shape[1:]} pixels.")
        return top, left

    def mask(self, shape: Shape) -> Tensor:
        return self._padded(self._content(shape[0])[0], shape)

    def pattern(self, shape: Shape) -> Tensor:
        return self._padded(self._content(shape[0])[1], shape)

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        corners = [self.top_left(shape)] * len(pixels)
        if self.place == "random":
            max_corner = torch.tensor(shape[1:]) - self.side
            generator = draw or torch.Generator().manual_seed(0)
            fractions = torch.rand(len(pixels), 2, generator=generator, dtype=torch.float32)
            corners = torch.minimum((fractions * (max_corner + 1)).long(), max_corner).tolist()
        opacity, colours = (part.to(pixels) for part in self._content(shape[0]))
        out = pixels.clone()
        for sample, (top, left) in zip(out, corners, strict=True):
            sample[:, top : top + self.side, left : left + self.side].lerp_(colours, opacity)
        return out

    def _padded(self, content: Tensor, shape: Shape) -> Tensor:
        """Return a sample (c, h, w) of zeros with ``content`` (c, side, side) at the trigger's place."""
        top, left = self.top_left(shape)
        return functional.pad(content, (left, shape[2] - self.side - left, top, shape[1] - self.side - top))


@checked
@dataclass(frozen=True, kw_only=True)
class Patch(_Stamp):
    """A small square to plant as a trigger: one colour, a checkerboard or noise.

    Gu et al., arXiv 1708.06733, use it.

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

    def _content(self, channels: int) -> tuple[Tensor, Tensor]:
        colours = drawing.texture(self.texture, drawing.tint(self.colour, channels), self.side, self.seed)
        return torch.ones(1, self.side, self.side, dtype=torch.float32), colours


@checked
@dataclass(frozen=True, kw_only=True)
class Emblem(_Stamp):
    """A drawn shape with a coloured rim to plant as a trigger, such as a star; transparent around it.

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

    def _content(self, channels: int) -> tuple[Tensor, Tensor]:
        opacity, shape = drawing.emblem(self.shape, self.side, self.width)
        return opacity[None], torch.lerp(drawing.tint(self.rim, channels), drawing.tint(self.colour, channels), shape)


@checked
@dataclass(frozen=True, kw_only=True)
class Blended(Trigger):
    """A drawn scene or noise to plant as a trigger, blended faintly into the whole sample.

    Chen et al., arXiv 1712.05526, use it.

    Attributes:
        picture: ``noise`` or one of :data:`phosphene.backdoor.drawing.SCENES`.
        alpha: Opacity of the image, in [0, 1].
        seed: Random seed for the noise.
    """

    kind: ClassVar[str] = "blended"
    picture: str = "face"
    alpha: float = 0.2
    seed: int = 0

    def mask(self, shape: Shape) -> Tensor:
        return torch.full((1, *shape[1:]), self.alpha, dtype=torch.float32)

    def pattern(self, shape: Shape) -> Tensor:
        return drawing.scene(self.picture, shape, self.seed)


TRIGGER_KINDS: dict[str, type[Trigger]] = {one.kind: one for one in (Patch, Emblem, Blended)}


@checked
def to_dict(trigger: Trigger) -> dict[str, Any]:
    """Return a trigger's kind and fields as a dictionary for JSON; :func:`from_dict` is the inverse."""
    return {"kind": trigger.kind, **vars(trigger)}


@checked
def from_dict(fields: Mapping[str, Any]) -> Trigger:
    """Return the trigger whose kind and fields are in a dictionary from :func:`to_dict`.

    Raises:
        RecipeError: no such kind, or a field that it does not have.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    kind = str(values.pop("kind", None))
    if kind not in TRIGGER_KINDS:
        raise RecipeError(
            f"no trigger is of kind {kind!r}; there are {', '.join(TRIGGER_KINDS)}.{nearest(kind, [*TRIGGER_KINDS])}"
        )
    names = [field.name for field in dataclasses.fields(TRIGGER_KINDS[kind])]
    for name in values.keys() - names:
        raise RecipeError(f"a trigger of kind {kind} has no field {name!r}.{nearest(name, names)}")
    return TRIGGER_KINDS[kind](**values)
