"""A few pixels in one place painted over: what patches and emblems are."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.backdoor.families.family import Pattern, Shape, project_l1


class Sparse:
    """``x + mask (paint - x)``; small is a mask of little area (Wang et al., "Neural Cleanse", S&P 2019, eq. 2 and 3).

    A pattern is a seed (m, h, w) in [0, 1], of which the mask is the mean over 3 x 3 pixels, and a paint (m, c, h, w)
    in [0, 1]. In the paper the mask's l1 norm is a penalty whose weight follows the success; here it is a ball that
    shrinks, so that masks are sparse throughout. The mean makes neighbours worth more than scattered pixels: triggers
    are found sooner, and the scattered patterns that reach any class stay large (docs/scan.md).
    """

    name: ClassVar[str] = "sparse"
    title: ClassVar[str] = "few pixels"
    unit: ClassVar[str] = "pixels"
    additive: ClassVar[bool] = False
    steps: ClassVar[tuple[float, ...]] = (0.15, 0.15)

    def start(self, shape: Shape, generators: "list[torch.Generator]") -> Pattern:
        seed = torch.full((len(generators), *shape[1:]), 0.25)
        paint = torch.stack([0.4 + 0.2 * torch.rand(shape, generator=own) for own in generators])
        return seed, paint

    def largest(self, shape: Shape) -> float:
        return 0.25 * shape[1] * shape[2]

    def paste(self, pattern: Pattern, samples: Tensor) -> Tensor:
        mask, paint = self.draw(pattern)
        return samples + mask[:, None] * (paint[:, None] - samples)

    def project(self, pattern: Pattern, size: Tensor) -> Pattern:
        seed, paint = pattern
        return project_l1(seed.flatten(1).clamp_min(0), size, 1.0).view_as(seed), paint.clamp(0, 1)

    def draw(self, pattern: Pattern) -> tuple[Tensor, Tensor]:
        seed, paint = pattern
        return functional.avg_pool2d(seed[:, None], 3, stride=1, padding=1), paint
