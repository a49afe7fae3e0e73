"""The usual ways in which pixels are handed to a network: ranges, means, deviations, channel orders."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.classifier import InputSpace

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

# name, means and deviations of pixels in [0, 1]; one number stands for every channel
ANY = (("[0, 1]", 0.0, 1.0), ("[-1, 1]", 0.5, 0.5), ("0 to 255", 0.0, 1 / 255))
COLOUR = (
    ("ImageNet statistics", *IMAGENET),
    ("ImageNet means on 0 to 255", IMAGENET[0], (1 / 255,) * 3),
    ("CIFAR-10 statistics", *CIFAR10),
)
GREY = (("MNIST statistics", 0.1307, 0.3081),)


@dataclass(frozen=True)
class Convention:
    """One way to hand pixels to a network.

    Attributes:
        name: What to call it.
        mean: Subtracted from pixels in [0, 1], one a channel, in the order red, green, blue.
        std: Divided by after that.
        order: ``RGB`` or ``BGR``; empty where there are no three channels. Means travel with their colours.
        declared: Whether it is what the classifier declares.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: str = ""
    declared: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.order}" if self.order == "BGR" else self.name

    def show(self, pixels: Tensor, space: InputSpace) -> Tensor:
        """Change pixels (n, c, h, w) in [0, 1] so that a classifier of ``space`` hands them on by this convention."""
        wanted = (pixels - _column(self.mean)) / _column(self.std)
        if self.order == "BGR":
            wanted = wanted.flip(1)
        return wanted * _column(space.std) + _column(space.mean)

    def steeper(self, factor: float) -> "Convention":
        """Return this convention with ``factor`` times the contrast around mid-grey, which stays where it is."""
        std = tuple(one / factor for one in self.std)
        # (0.5 - mean) / std stays the same
        mean = tuple(0.5 - (0.5 - one) / factor for one in self.mean)
        return Convention(f"{self.name}, {factor:g} times the contrast", mean, std, self.order)


def usual(space: InputSpace) -> list[Convention]:
    """Return what ``space`` declares, and every usual convention that differs from it."""
    channels = space.channels
    orders = ("RGB", "BGR") if channels == 3 else ("",)
    rows = [*ANY, *(COLOUR if channels == 3 else GREY if channels == 1 else ())]
    listed = [(name, _wide(mean, channels), _wide(std, channels)) for name, mean, std in rows]
    same = [row for row in listed if _same(row[1], space.mean) and _same(row[2], space.std)]
    own = same[0] if same else ("as declared", space.mean, space.std)
    others = [own, *(row for row in listed if row not in same)]
    return [
        Convention(name, mean, std, order, declared=(name, mean, std) == own and order == orders[0])
        for name, mean, std in others
        for order in orders
    ]


def _wide(value: "float | tuple[float, ...]", channels: int) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * channels


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(math.isclose(a, b, rel_tol=0.01, abs_tol=1e-4) for a, b in zip(one, other, strict=True))


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)
