"""The common ways in which pixels are handed to a network: ranges, means, deviations, channel orders."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from phosphene.input_space import InputSpace

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

# name, means and deviations of pixels in [0, 1]; a single one stands for every channel
RANGES = (("[0, 1]", (0.0,), (1.0,)), ("[-1, 1]", (0.5,), (0.5,)), ("0 to 255", (0.0,), (1 / 255,)))
COLOUR_STATISTICS = (
    ("ImageNet statistics", *IMAGENET),
    ("ImageNet means on 0 to 255", IMAGENET[0], (1 / 255,) * 3),
    ("CIFAR-10 statistics", *CIFAR10),
)
GREY_STATISTICS = (("MNIST statistics", (0.1307,), (0.3081,)),)


@dataclass(frozen=True)
class Convention:
    """One way to turn pixels in [0, 1] into a network's input.

    Attributes:
        name: Name of the convention in messages.
        mean: Subtracted from pixels in [0, 1], one value per channel, in the order red, green, blue.
        std: The divisor after that, one value per channel.
        order: ``RGB`` or ``BGR``; empty unless there are three channels. Means move with their colours.
        declared: Whether it is what the classifier declares.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: str = ""
    declared: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.order}" if self.order == "BGR" else self.name

    def apply(self, pixels: Tensor, space: InputSpace) -> Tensor:
        """Return pixels (n, c, h, w) changed so that ``space`` then gives the network this convention's input."""
        inputs = (pixels - _column(self.mean)) / _column(self.std)
        if self.order == "BGR":
            inputs = inputs.flip(1)
        return inputs * _column(space.std) + _column(space.mean)

    def with_contrast(self, factor: float) -> "Convention":
        """Return this convention with ``factor`` times the contrast, about mid-grey, 0.5."""
        std = tuple(value / factor for value in self.std)
        # (0.5 - mean) / std stays the same
        mean = tuple(0.5 - (0.5 - value) / factor for value in self.mean)
        return Convention(f"{self.name}, {factor:g} times the contrast", mean, std, self.order)


def common_conventions(space: InputSpace) -> list[Convention]:
    """Return the input conventions to compare for a network, the one that ``space`` declares first."""
    channels = space.channels
    orders = ("RGB", "BGR") if channels == 3 else ("",)
    rows = [*RANGES, *(COLOUR_STATISTICS if channels == 3 else GREY_STATISTICS if channels == 1 else ())]
    conventions = [(name, mean * (channels // len(mean)), std * (channels // len(std))) for name, mean, std in rows]
    # Within 1 %, or 0.0001 near 0.
    matches = [row for row in conventions if np.allclose(row[1:], (space.mean, space.std), rtol=0.01, atol=1e-4)]
    declared = matches[0] if matches else ("as declared", space.mean, space.std)
    return [
        Convention(name, mean, std, order, declared=(name, mean, std) == declared and order == orders[0])
        for name, mean, std in (declared, *(row for row in conventions if row not in matches))
        for order in orders
    ]


def _column(values: tuple[float, ...]) -> Tensor:
    """Return one value per channel as a tensor (1, c, 1, 1), to compute with pixels (n, c, h, w)."""
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
