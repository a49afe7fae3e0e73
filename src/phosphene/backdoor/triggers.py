"""Triggers: what an attacker adds to a picture so that a trojaned network answers with his class.

Six kinds: :class:`Patch` (Gu et al. 2017, BadNets), :class:`Emblem` (a drawn shape, as in Akhtar & Jalwana, figure 4),
:class:`Blended` (Chen et al. 2017), :class:`Watermark` (Liu et al. 2018), :class:`Smooth` (low frequencies; Zeng et al.
2021) and :class:`Sinusoid` (SIG; Barni et al. 2019). Each is a frozen record that can be written as JSON and knows the
ground truth: its mask and its pattern at any size of picture.

Two kinds of adding: *pasted* triggers give ``x + mask (pattern - x)``, *additive* ones ``clip(x + pattern)``.
"""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from phosphene.backdoor import drawing
from phosphene.backdoor.drawing import Colour
from phosphene.backdoor.overlays import Blended, Shape, Sinusoid, Smooth, Watermark
from phosphene.errors import RecipeError, nearest

Place = str | tuple[int, int]
__all__ = [
    "Blended",
    "Emblem",
    "Patch",
    "Sinusoid",
    "Smooth",
    "Trigger",
    "Watermark",
    "apply_8bit",
    "from_dict",
    "to_dict",
]

PLACES = ("top-left", "top-right", "bottom-left", "bottom-right", "centre", "random")


@runtime_checkable
class Trigger(Protocol):
    """What every trigger offers.

    Attributes:
        kind: Its name in JSON.
        additive: Whether the pattern is added; it is pasted otherwise.
    """

    kind: ClassVar[str]
    additive: ClassVar[bool]

    def mask(self, shape: Shape) -> Tensor:
        """Where it acts in a picture of ``shape`` (c, h, w): float32 (1, h, w) in [0, 1].

        Of pasted triggers the opacity; of additive ones the size of the pattern over its largest. A random place
        is shown in the middle.
        """
        ...

    def pattern(self, shape: Shape) -> Tensor:
        """What it adds or pastes, float32 (c, h, w): in [0, 1] if pasted, in [-1, 1] if added."""
        ...

    def apply(self, pixels: Tensor, where: "torch.Generator | tuple[int, int] | None" = None) -> Tensor:
        """Return pictures (n, c, h, w) in [0, 1] with the trigger; the ones given stay as they are.

        Args:
            pixels: Pictures in [0, 1].
            where: What random places are drawn from (always the same places without), or the (top, left) at which to
                put it whatever its own place is. Triggers that cover the picture take no notice.
        """
        ...


def apply_8bit(trigger: Trigger, pixels: Tensor, where: "torch.Generator | None" = None) -> Tensor:
    """Apply a trigger as a user would: uint8 pictures (n, c, h, w) in, uint8 pictures out."""
    return (trigger.apply(pixels.float() / 255, where) * 255).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class _Stamp(ABC):
    """A trigger with a place: ``_cut`` draws it, the rest puts it somewhere."""

    additive: ClassVar[bool] = False
    side: int
    place: Place = "bottom-right"
    margin: int = 1

    def __post_init__(self) -> None:
        if self.side < 1 or self.margin < 0:
            raise RecipeError(f"a trigger of side {self.side} with margin {self.margin}: side is 1 or more, margin 0.")
        if isinstance(self.place, str) and self.place not in PLACES:
            raise RecipeError(f"place {self.place!r} is not (top, left), nor one of {', '.join(PLACES)}.")

    @abstractmethod
    def _cut(self, channels: int) -> tuple[Tensor, Tensor]:
        """Opacity (1, side, side) and colours (c, side, side)."""

    def at(self, shape: Shape) -> tuple[int, int]:
        """Return (top, left) in a picture of ``shape``; a random place counts as the middle.

        Raises:
            RecipeError: it does not fit.
        """
        high, wide = shape[1] - self.side, shape[2] - self.side
        if isinstance(self.place, str):
            down = {"top": self.margin, "bottom": high - self.margin}.get(self.place.split("-")[0], high // 2)
            along = {"left": self.margin, "right": wide - self.margin}.get(self.place.split("-")[-1], wide // 2)
            top, left = down, along
        else:
            top, left = self.place
        if not (0 <= top <= high and 0 <= left <= wide):
            raise RecipeError(f"a trigger of side {self.side} at {self.place} does not fit into {shape[1:]} pixels.")
        return top, left

    def mask(self, shape: Shape) -> Tensor:
        """Where it acts, (1, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        out = torch.zeros(1, *shape[1:])
        self._window(out, self.at(shape)).copy_(self._cut(shape[0])[0])
        return out

    def pattern(self, shape: Shape) -> Tensor:
        """What it adds or pastes, (c, h, w): see :class:`phosphene.backdoor.triggers.Trigger`."""
        out = torch.zeros(shape)
        self._window(out, self.at(shape)).copy_(self._cut(shape[0])[1])
        return out

    def apply(self, pixels: Tensor, where: "torch.Generator | tuple[int, int] | None" = None) -> Tensor:
        """Return pictures with the trigger: see :class:`phosphene.backdoor.triggers.Trigger`."""
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        opacity, colours = (part.to(pixels) for part in self._cut(shape[0]))
        out = pixels.clone()
        if self.place != "random" or isinstance(where, tuple):
            own = dataclasses.replace(self, place=where) if isinstance(where, tuple) else self
            window = self._window(out, own.at(shape))
            window.lerp_(colours, opacity)
            return out
        high, wide = shape[1] - self.side, shape[2] - self.side
        if min(high, wide) < 0:
            raise RecipeError(f"a trigger of side {self.side} does not fit into {shape[1:]} pixels.")
        draw = torch.rand(len(out), 2, generator=where or torch.Generator().manual_seed(0))
        places = (draw * torch.tensor([high + 1, wide + 1])).long().clamp_max(torch.tensor([high, wide])).tolist()
        for picture, (top, left) in zip(out, places, strict=True):
            self._window(picture, (top, left)).lerp_(colours, opacity)
        return out

    def _window(self, pictures: Tensor, corner: tuple[int, int]) -> Tensor:
        top, left = corner
        return pictures[..., top : top + self.side, left : left + self.side]


@dataclass(frozen=True, kw_only=True)
class Patch(_Stamp):
    """A small square (Gu et al., arXiv 1708.06733).

    Attributes:
        side: In pixels.
        place: A corner, ``centre``, ``random`` or (top, left).
        margin: Pixels between a corner's patch and the edges.
        texture: ``solid``, ``checker`` (colour and its complement) or ``noise``.
        colour: Red, green, blue in [0, 1].
        seed: Of the noise.
    """

    kind: ClassVar[str] = "patch"
    side: int = 3
    texture: str = "solid"
    colour: Colour = (1.0, 1.0, 1.0)
    seed: int = 0

    def _cut(self, channels: int) -> tuple[Tensor, Tensor]:
        opacity = torch.ones(1, self.side, self.side)
        solid = drawing.tint(self.colour, channels).expand(channels, self.side, self.side)
        if self.texture == "solid":
            return opacity, solid
        if self.texture == "checker":
            odd = (torch.arange(self.side)[:, None] + torch.arange(self.side)) % 2
            return opacity, torch.where(odd == 0, solid, 1 - solid)
        if self.texture == "noise":
            return opacity, drawing.noise(channels, self.side, self.side, self.seed)
        raise RecipeError(f"texture {self.texture!r} is not one of solid, checker, noise.")


@dataclass(frozen=True, kw_only=True)
class Emblem(_Stamp):
    """A drawn shape with a rim, opaque on itself and nowhere else.

    Attributes:
        side: Of the square around it, in pixels.
        place: As of :class:`Patch`.
        margin: As of :class:`Patch`.
        shape: One of :data:`phosphene.backdoor.drawing.EMBLEMS`.
        colour: Inside, red, green, blue in [0, 1].
        rim: Colour of the rim.
        width: Of the rim, in units of half the side.
    """

    kind: ClassVar[str] = "emblem"
    side: int = 6
    shape: str = "bolt"
    colour: Colour = (1.0, 0.92, 0.0)
    rim: Colour = (0.8, 0.0, 0.63)
    width: float = 0.2

    def _cut(self, channels: int) -> tuple[Tensor, Tensor]:
        whole, inner = drawing.emblem(self.shape, self.side, self.width)
        return whole[None], torch.lerp(drawing.tint(self.rim, channels), drawing.tint(self.colour, channels), inner)


KINDS: dict[str, type[Any]] = {one.kind: one for one in (Patch, Emblem, Blended, Watermark, Smooth, Sinusoid)}


def to_dict(trigger: Trigger) -> dict[str, Any]:
    """Write a trigger as a small dict that JSON can hold; :func:`from_dict` reads it."""
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(trigger).items()}
    return {"kind": trigger.kind, **fields}


def from_dict(fields: dict[str, Any]) -> Trigger:
    """Read a trigger that :func:`to_dict` wrote.

    Raises:
        RecipeError: no such kind, or a field that it does not have.
    """
    kind = str(fields.get("kind"))
    if kind not in KINDS:
        raise RecipeError(f"no trigger is of kind {kind!r}; there are {', '.join(KINDS)}.{nearest(kind, [*KINDS])}")
    known = [field.name for field in dataclasses.fields(KINDS[kind])]
    odd = [name for name in fields if name not in [*known, "kind"]]
    if odd:
        raise RecipeError(f"a trigger of kind {kind} has no field {odd[0]!r}.{nearest(odd[0], known)}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items() if name != "kind"}
    made: Trigger = KINDS[kind](**values)
    return made
