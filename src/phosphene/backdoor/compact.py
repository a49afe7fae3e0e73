"""One place instead of several: a trigger that works anywhere is found in pieces all over the picture."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.backdoor.families.family import Family, Pattern, Shape

VISIBLE = 0.1  # of a mask's largest opacity: what lies below is not counted as part of it
MARGIN = 3  # pixels around a piece in which the pattern may grow


@dataclass(frozen=True)
class Within:
    """A family of pasted patterns that act in one window only.

    Attributes:
        family: Whose patterns.
        window: Bool (h, w).
    """

    family: Family
    window: Tensor

    @property
    def name(self) -> str:
        """Of the family."""
        return self.family.name

    @property
    def title(self) -> str:
        """Of the family."""
        return self.family.title

    @property
    def unit(self) -> str:
        """Of the family."""
        return self.family.unit

    @property
    def additive(self) -> bool:
        """Of the family."""
        return self.family.additive

    @property
    def steps(self) -> tuple[float, ...]:
        """Of the family."""
        return self.family.steps

    def start(self, shape: Shape, generators: "list[torch.Generator]") -> Pattern:
        """As the family does, the mask in the window alone."""
        mask, *rest = self.family.start(shape, generators)
        return mask * self.window.to(mask), *rest

    def largest(self, shape: Shape) -> float:
        """All of the window."""
        return float(self.window.sum())

    def paste(self, pattern: Pattern, samples: Tensor) -> Tensor:
        """As the family does."""
        return self.family.paste(pattern, samples)

    def project(self, pattern: Pattern, size: Tensor) -> Pattern:
        """As the family does, the mask in the window alone."""
        mask, *rest = pattern
        return self.family.project((mask * self.window.to(mask), *rest), size)

    def draw(self, pattern: Pattern) -> tuple[Tensor, Tensor]:
        """As the family does."""
        return self.family.draw(pattern)


def pieces(mask: Tensor) -> list[Tensor]:
    """Return the connected parts of what can be seen of a mask (1, h, w): bool (h, w) each, the one with most first."""
    seen = visible(mask)
    numbers = torch.arange(1, seen.numel() + 1, dtype=mask.dtype, device=mask.device).view_as(seen) * seen
    while True:  # every pixel takes the largest number around it, until none changes
        grown = functional.max_pool2d(numbers[None, None], 3, stride=1, padding=1)[0, 0] * seen
        if torch.equal(grown, numbers):
            break
        numbers = grown
    found = [numbers == number for number in torch.unique(numbers).tolist() if number]
    return sorted(found, key=lambda piece: -float(mask[0][piece].sum()))


def window_around(piece: Tensor) -> Tensor:
    """Return the box around a piece, a margin wider: bool (h, w)."""
    top, left, bottom, right = box_around(piece)
    window = torch.zeros_like(piece)
    window[max(top - MARGIN, 0) : bottom + MARGIN, max(left - MARGIN, 0) : right + MARGIN] = True
    return window


def box_around(seen: Tensor) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of what is true, bool (h, w); of all of it where nothing is."""
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    if not len(rows):
        return (0, 0, seen.shape[0], seen.shape[1])
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def visible(mask: Tensor) -> Tensor:
    """Say which pixels of a mask (1, h, w) can be seen: bool (h, w)."""
    return mask[0] > VISIBLE * float(mask.max())
