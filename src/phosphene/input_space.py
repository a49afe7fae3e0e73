"""The input space of a network: its size, and the mean and standard deviation by which pixels in [0, 1] are normalised."""

import math
from dataclasses import dataclass
from operator import index

from phosphene.errors import CardError

# Values of one input: above this, a card is a mistake or an attack on memory.
MAX_INPUT_VALUES = 2**26
# Means and standard deviations beyond this are lost in single precision.
MAX_MAGNITUDE = 1e12


@dataclass(frozen=True)
class InputSpace:
    """The size of a network's input and its per-channel mean and std, by which pixels in [0, 1] are normalised; CardError if invalid.

    Attributes:
        size: Height and width in pixels.
        mean: Subtracted from pixels in [0, 1], one per channel.
        std: Divided by after that, one per channel.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        # The same numbers as lists, as ints, or of NumPy or torch are the same input: one hash, and JSON can hold them.
        for name, kind in (("size", index), ("mean", float), ("std", float)):
            given = getattr(self, name)
            try:
                object.__setattr__(self, name, tuple(map(kind, given)))
            except (TypeError, ValueError):
                numbers = "whole numbers" if name == "size" else "numbers"
                raise CardError(f"input {name} is {given!r}; it must be a list of {numbers}.") from None
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

    @property
    def channels(self) -> int:
        """Number of input channels, which is the number of means."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one network input without the batch: (channels, height, width)."""
        return (self.channels, *self.size)
