"""Anything added everywhere, as faint as can be: blended noise, and adversarial patterns."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from phosphene.backdoor.families.family import Pattern, Shape, added, rows


class Dense:
    """``clip(x + delta)``; small is an l2 norm (Moosavi-Dezfooli et al., "Universal adversarial perturbations", 2017).

    A pattern is delta (m, c, h, w).
    """

    name: ClassVar[str] = "dense"
    title: ClassVar[str] = "any pattern, faint"
    unit: ClassVar[str] = "l2 norm"
    additive: ClassVar[bool] = True
    steps: ClassVar[tuple[float, ...]] = (0.02,)

    def start(self, shape: Shape, generators: "list[torch.Generator]") -> Pattern:
        return (torch.zeros(len(generators), *shape),)

    def largest(self, shape: Shape) -> float:
        return 6.0 * math.sqrt(math.prod(shape) / 3072)

    def paste(self, pattern: Pattern, samples: Tensor) -> Tensor:
        return (samples + pattern[0][:, None]).clamp(0, 1)

    def project(self, pattern: Pattern, size: Tensor) -> Pattern:
        (delta,) = pattern
        norm = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
        return (delta * rows((size / norm).clamp_max(1), delta),)

    def draw(self, pattern: Pattern) -> tuple[Tensor, Tensor]:
        return added(pattern[0])
