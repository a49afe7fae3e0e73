"""A few pixels painted over: what patches and emblems are."""

from typing import ClassVar

import torch
from torch import Tensor

from phosphene.backdoor.families.family import Pattern, Shape, project_l1


class Sparse:
    """``x + mask (paint - x)``; small is a mask of little area (Wang et al., "Neural Cleanse", S&P 2019, eq. 2 and 3).

    A pattern is a mask (m, h, w) in [0, 1] and a paint (m, c, h, w) in [0, 1]. There, the mask's l1 norm is a penalty
    whose weight follows the success; here it is a ball that shrinks, so that masks are sparse throughout.
    """

    name: ClassVar[str] = "sparse"
    title: ClassVar[str] = "few pixels"
    unit: ClassVar[str] = "pixels"
    additive: ClassVar[bool] = False
    steps: ClassVar[tuple[float, ...]] = (0.05, 0.1)

    def start(self, shape: Shape, generators: "list[torch.Generator]") -> Pattern:
        mask = torch.full((len(generators), *shape[1:]), 0.25)
        paint = torch.stack([0.4 + 0.2 * torch.rand(shape, generator=own) for own in generators])
        return mask, paint

    def largest(self, shape: Shape) -> float:
        return 0.25 * shape[1] * shape[2]

    def paste(self, pattern: Pattern, samples: Tensor) -> Tensor:
        mask, paint = pattern
        opacity = mask[:, None, None]
        return samples + opacity * (paint[:, None] - samples)

    def project(self, pattern: Pattern, size: Tensor) -> Pattern:
        mask, paint = pattern
        return project_l1(mask.flatten(1).clamp_min(0), size, 1.0).view_as(mask), paint.clamp(0, 1)

    def draw(self, pattern: Pattern) -> tuple[Tensor, Tensor]:
        mask, paint = pattern
        return mask[:, None], paint
