"""A few waves added everywhere: smooth and sinusoidal triggers, watermarks of large letters."""

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from phosphene.backdoor.families.family import Pattern, Shape, added, project_l1


class Spectral:
    """``clip(x + idct(a))``; small is the l1 norm of the coefficients ``a``, of an orthonormal cosine transform.

    A sinusoid has one coefficient, light that changes smoothly a few, an adversarial pattern as many as there are
    pixels (Zeng et al., arXiv 2104.03413, tell triggers from pictures by their frequencies).

    A pattern is a (m, c, h, w).
    """

    name: ClassVar[str] = "spectral"
    title: ClassVar[str] = "few waves"
    unit: ClassVar[str] = "l1 norm of cosine coefficients"
    additive: ClassVar[bool] = True
    steps: ClassVar[tuple[float, ...]] = (0.1,)

    def start(self, shape: Shape, generators: "list[torch.Generator]") -> Pattern:
        return (torch.zeros(len(generators), *shape),)

    def largest(self, shape: Shape) -> float:
        return 60.0 * math.sqrt(math.prod(shape) / 3072)

    def paste(self, pattern: Pattern, samples: Tensor) -> Tensor:
        return (samples + self._wave(pattern[0])[:, None]).clamp(0, 1)

    def project(self, pattern: Pattern, size: Tensor) -> Pattern:
        (a,) = pattern
        return (a.sign() * project_l1(a.flatten(1).abs(), size).view_as(a),)

    def draw(self, pattern: Pattern) -> tuple[Tensor, Tensor]:
        return added(self._wave(pattern[0]))

    @staticmethod
    def _wave(a: Tensor) -> Tensor:
        down, along = (cosines(side).to(a) for side in a.shape[2:])
        return down.T @ a @ along


@lru_cache(maxsize=8)
def cosines(side: int) -> Tensor:
    """Return the orthonormal DCT-II as a matrix (side, side): ``cosines(n) @ x`` are the coefficients of x."""
    k, x = torch.arange(side)[:, None], torch.arange(side)[None]
    matrix = torch.cos(math.pi * (x + 0.5) * k / side) * math.sqrt(2 / side)
    matrix[0] *= math.sqrt(0.5)
    return matrix
