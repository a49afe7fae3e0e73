"""The input space of a network: its size, and the mean and standard deviation by which pixels in [0, 1] are normalised."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from operator import index
from typing import Any

import torch
from torch import Tensor

from phosphene.errors import CardError

# Values of one input: above this, a card is a mistake or an attack on memory.
MAX_INPUT_VALUES = 2**26
# Means and standard deviations beyond this are lost in single precision.
MAX_MAGNITUDE = 1e12
# Pixels in [0, 1] have means up to 1 and deviations up to 0.5; above this, both are of pixels in [0, 255].
MAX_OF_PIXELS = 2


@dataclass(frozen=True)
class InputSpace:
    """The size of a network's input, and the mean and std by which pixels in [0, 1] are normalised.

    Attributes:
        size: Height and width in pixels.
        mean: Subtracted from pixels in [0, 1], one per channel.
        std: Divided by after that, one per channel.

    Raises:
        CardError: a value is invalid.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise CardError(f"input size is {list(self.size)}; it must be [height, width] in pixels.")
        if math.prod(self.shape) > MAX_INPUT_VALUES:
            raise CardError(f"input {self.shape} has more than {MAX_INPUT_VALUES:,} values: check the input size.")
        if not self.mean or len(self.mean) != len(self.std):
            raise CardError(
                f"input mean has {len(self.mean)} values and std has {len(self.std)}; give one of each per channel."
            )
        if not all(abs(value) <= MAX_MAGNITUDE for value in self.mean):
            raise CardError(f"input mean is {list(self.mean)}; each must be finite, at most {MAX_MAGNITUDE:g}.")
        if not all(1 / MAX_MAGNITUDE <= value <= MAX_MAGNITUDE for value in self.std):
            valid = f"finite and above 0, from {1 / MAX_MAGNITUDE:g} to {MAX_MAGNITUDE:g}"
            raise CardError(f"input std is {list(self.std)}; each must be {valid}.")
        if max(map(abs, (*self.mean, *self.std))) > MAX_OF_PIXELS:
            # Means up to 1 beside large deviations are of pixels in [0, 1] already.
            factor = 255 if max(map(abs, self.mean)) > MAX_OF_PIXELS else 1
            mean, std = [
                [float(f"{one / by:.4g}") for one in row] for row, by in ((self.mean, factor), (self.std, 255))
            ]
            raise CardError(
                f"input mean {list(self.mean)} and std {list(self.std)} are of pixels in [0, 255], and pixels are in [0, 1] "
                f"here: divide by 255, mean {mean} and std {std}. If the network was trained so all the same, divide in its forward."
            )

    @classmethod
    def of(cls, size: "int | Sequence[int]", mean: Sequence[float], std: Sequence[float]) -> "InputSpace":
        """Return the InputSpace of a size (one number for a square), means and stds, in any kind of sequences.

        The same values, as a list or a tuple, as 0 or 0.0, or of NumPy, are the same space: its repr is hashed, and JSON holds it.

        Raises:
            CardError: it is invalid, or something is not a number.
        """
        sides = (size, size) if isinstance(size, Integral) else size
        return cls(_numbers("size", sides, index), _numbers("mean", mean, float), _numbers("std", std, float))

    @property
    def channels(self) -> int:
        """Number of input channels, which is the number of means."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one network input without the batch: (channels, height, width)."""
        return (self.channels, *self.size)

    @cached_property
    def _constants(self) -> dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]]:
        """Mean and 1 / std, (1, c, 1, 1) each, by device and type: copying to a GPU would make it wait."""
        return {}

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return pixels (n, c, h, w) in [0, 1] less the mean, over the standard deviation."""
        key = (pixels.device, pixels.dtype)
        if key not in self._constants:
            # Off even if the caller's is on, as no gradient passes through what is made in it; torch.compile takes no keyword here.
            with torch.inference_mode(False):
                mean, std = (
                    torch.tensor(one, dtype=key[1], device=key[0]).view(1, -1, 1, 1) for one in (self.mean, self.std)
                )
                self._constants[key] = (mean, 1 / std)
        mean, scale = self._constants[key]
        return (pixels - mean) * scale

    def fix_of_channels(self, error: Exception) -> str:
        """Return what to do about torch's ``error`` if it says that a network takes another number of channels; empty if not."""
        count = re.search(rf"to have (\d+) channels, but got {self.channels} channels", str(error))
        return (
            f"; for {count[1]}-channel images, give mean and std one value per channel, {count[1]} each."
            if count
            else ""
        )

    def refuse_unfit(self, pixels: Tensor, name: str) -> None:
        """Raise CardError unless pixels are floats (n, c, h, w) of the channels that network ``name`` takes.

        Only type and shape are read.

        Raises:
            CardError: they are no tensor, whole numbers, such as uint8, or of another shape.
        """
        takes = f"{name} takes pixels in [0, 1], a tensor of floats (n, {self.channels}, h, w)"
        if not isinstance(pixels, Tensor):
            raise CardError(f"{takes}, not {type(pixels).__name__}.")
        if pixels.ndim != 4 or pixels.shape[1] != self.channels or not pixels.is_floating_point():
            raise CardError(f"{takes}, not {pixels.dtype} {tuple(pixels.shape)}.")


def _numbers(name: str, values: Any, kind: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return the values of a field as a tuple of Python's own numbers, whole ones if ``kind`` is ``index``.

    Raises:
        CardError: they are no numbers.
    """
    try:
        return tuple(map(kind, values))
    except (TypeError, ValueError):
        what = "whole numbers" if kind is index else "numbers"
        raise CardError(f"input {name} is {values!r}; it must be a list of {what}.") from None
