"""Algorithm 1 of Akhtar & Jalwana (arXiv 2303.17836): accumulate gradients into a norm-bounded map."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.engine import Engine, Nudge
from phosphene.mapper.smoothing import Smoothing
from phosphene.mapper.views import Views
from phosphene.recipe import Recipe

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

Draw = Callable[[], Tensor]
See = Callable[[], Views]


@dataclass
class Moments:
    """Adam's moments and how many steps they have seen: with the maps, what a walk goes on from.

    Attributes:
        step: Steps taken.
        mean: First moment, mu in the paper, (m, c, h, w); ``None`` before the first step.
        square: Second moment, sigma in the paper.
    """

    step: int = 0
    mean: "Tensor | None" = None
    square: "Tensor | None" = None


def accumulate(
    engine: Engine,
    draw: Draw,
    see: See,
    classes: Tensor,
    nu: Tensor,
    recipe: Recipe,
    moments: "Moments | None" = None,
    colours: "Tensor | None" = None,
) -> Iterator[tuple[Tensor, Nudge]]:
    """Run Algorithm 1 on m maps at once; yield the maps and what the nudge did, after every step.

    Args:
        engine: Calls the network.
        draw: Gives a fresh mini-batch for every map: uint8 (m, b, c, h, w).
        see: Gives fresh views of every map; in the paper there is one, the map itself.
        classes: int64 (m,).
        nu: (m, c, h, w): the seed of each map.
        recipe: ``steps`` (K), ``radius`` (eta), ``step_size``, ``sign_test``; ours: ``step_decay``, ``smoothing``.
        moments: Where to go on from; kept up to date at every step.
        colours: (c, c), see :func:`phosphene.mapper.smoothing.colour_matrix`; ours.
    """
    moments = moments or Moments()
    radius = recipe.radius_for(nu.shape[1:])
    smooth = Smoothing(recipe.smoothing, nu, colours)
    zero = torch.zeros_like(nu)
    mean, square = (zero if past is None else past for past in (moments.mean, moments.square))  # line 1: mu and sigma
    for k in range(moments.step + 1, recipe.steps + 1):  # line 2; from 1: at 0 the bias correction divides by 0
        batch = draw()  # line 3
        views = see()
        nudge = views.nudge(engine, batch, nu, classes)  # lines 3 and 4
        x = smooth(nudge.gradient)
        mean = BETA1 * mean + (1 - BETA1) * x  # line 5
        square = BETA2 * square + (1 - BETA2) * x * x  # line 6
        v = smooth((mean / (1 - BETA1**k)) / ((square / (1 - BETA2**k)).sqrt() + EPSILON))  # line 7
        sign = better_sign(engine, batch, nu, v, classes) if recipe.sign_test else 1.0  # lines 8 to 10
        nu = nu + sign * step_size(recipe, k) * v  # lines 11 to 14
        nu = project(nu, radius)  # line 15
        moments.step, moments.mean, moments.square = k, mean, square
        yield nu, nudge


def step_size(recipe: Recipe, k: int) -> float:
    """Length factor of step ``k`` of ``recipe.steps``: constant in the paper, falling along a cosine with a decay."""
    fallen = (1 - math.cos(math.pi * (k - 1) / max(recipe.steps - 1, 1))) / 2
    return recipe.step_size * (1 - (1 - recipe.step_decay) * fallen)


def better_sign(engine: Engine, batch: Tensor, nu: Tensor, v: Tensor, classes: Tensor) -> Tensor:
    """Return +1 or -1 a map, (m, 1, 1, 1): the direction whose unit step makes the class likelier; a tie keeps +."""
    unit = v / norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    along = engine.probability(batch, nu + unit, classes)
    against = engine.probability(batch, nu - unit, classes)
    return torch.where(along >= against, 1.0, -1.0).to(v.dtype).view(-1, 1, 1, 1)


def project(nu: Tensor, radius: float) -> Tensor:
    """Project each map (m, c, h, w) on the l2 ball: ``nu min(1, eta / norm(nu))``."""
    return nu * (radius / norm(nu).clamp_min(torch.finfo(nu.dtype).tiny)).clamp_max(1)


def norm(nu: Tensor) -> Tensor:
    """Return the l2 norm of each map over all of (c, h, w), as (m, 1, 1, 1)."""
    answer: Tensor = torch.linalg.vector_norm(nu, dim=(1, 2, 3), keepdim=True)
    return answer
