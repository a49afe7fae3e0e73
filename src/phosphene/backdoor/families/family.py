"""What a family of patterns offers to the search."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor

Shape = tuple[int, int, int]
Pattern = tuple[Tensor, ...]
"""The parameters of m patterns; every tensor has m rows."""


class Family(Protocol):
    """Patterns of one kind, and what makes one small.

    Attributes:
        name: In files and on the command line.
        title: In a report.
        unit: Of a size.
        additive: Whether patterns are added; they are pasted otherwise.
        steps: Length of an optimiser step of each parameter.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    additive: ClassVar[bool]
    steps: ClassVar[tuple[float, ...]]

    def start(self, shape: Shape, generators: "list[torch.Generator]") -> Pattern:
        """Return one pattern for each generator, for pictures of ``shape`` (c, h, w)."""
        ...

    def largest(self, shape: Shape) -> float:
        """Return the size at which the search begins, in the family's unit."""
        ...

    def paste(self, pattern: Pattern, samples: Tensor) -> Tensor:
        """Put m patterns on samples (m, b, c, h, w) in [0, 1], each on its own row; the same shape, in [0, 1]."""
        ...

    def project(self, pattern: Pattern, size: Tensor) -> Pattern:
        """Return the patterns, none larger than its ``size`` (m,)."""
        ...

    def draw(self, pattern: Pattern) -> tuple[Tensor, Tensor]:
        """Return masks (m, 1, h, w) in [0, 1] and paints (m, c, h, w).

        Of what is pasted: opacity, and colours in [0, 1]. Of what is added: where most is added, over the largest, and
        what, in [-1, 1].
        """
        ...


def added(delta: Tensor) -> tuple[Tensor, Tensor]:
    """Draw what is added, (m, c, h, w)."""
    size = delta.abs().amax(1, keepdim=True)
    return size / size.amax((2, 3), keepdim=True).clamp_min(1e-12), delta


def rows(value: Tensor, like: Tensor) -> Tensor:
    """Give a tensor (m,) as many dimensions as ``like`` (m, ...)."""
    return value.view(-1, *[1] * (like.ndim - 1))


def project_l1(values: Tensor, size: Tensor, most: float = float("inf")) -> Tensor:
    """Project rows (m, n), none negative, on ``0 <= v <= most, sum(v) <= size``: subtract a threshold, clip.

    The threshold of the nearest point (Duchi et al., ICML 2008) is found by bisection, for all rows at once.
    """
    low, high = torch.zeros_like(size), values.amax(1)
    fits = values.clamp(0, most).sum(1) <= size
    for _ in range(24):
        middle = (low + high) / 2
        over = (values - middle[:, None]).clamp(0, most).sum(1) > size
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    threshold = torch.where(fits, torch.zeros_like(high), high)
    return (values - threshold[:, None]).clamp(0, most)
