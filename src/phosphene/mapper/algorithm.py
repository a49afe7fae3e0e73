"""Algorithm 1 of Akhtar & Jalwana (arXiv 2303.17836): accumulate gradients into a norm-bounded map."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.engine import Engine, MeanGradients
from phosphene.mapper.smoothing import Smoothing
from phosphene.mapper.views import Views
from phosphene.recipe import Recipe

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

SampleBatch = Callable[[], Tensor]
SampleViews = Callable[[], Views]


@dataclass
class Moments:
    """Adam's first and second moments of m maps, and the steps taken: updated in place, so that an optimization can resume.

    Attributes:
        step: Steps taken.
        mean: First moment, mu in the paper, (m, c, h, w); ``None`` before the first step.
        square: Second moment, sigma in the paper, (m, c, h, w).
    """

    step: int = 0
    mean: "Tensor | None" = None
    square: "Tensor | None" = None


def accumulate(
    engine: Engine,
    sample_batch: SampleBatch,
    sample_views: SampleViews,
    classes: Tensor,
    nu: Tensor,
    recipe: Recipe,
    moments: "Moments | None" = None,
    colours: "Tensor | None" = None,
) -> Iterator[tuple[Tensor, MeanGradients]]:
    """Run Algorithm 1 on m maps at once; after every step, yield the maps (m, c, h, w) and the gradients that the step used.

    Args:
        engine: Calls the network.
        sample_batch: Returns a new mini-batch for every map: uint8 (m, b, c, h, w).
        sample_views: Returns new random views of every map; the paper uses the map itself.
        classes: int64 (m,).
        nu: (m, c, h, w): the map that each starts from (the paper's seed).
        recipe: ``steps`` (K), ``radius`` (eta), ``step_size``, ``sign_test``; not in the paper: ``step_decay``,
            ``smoothing``.
        moments: State to resume from; updated at every step.
        colours: (c, c), see :func:`phosphene.mapper.smoothing.colour_matrix`; not in the paper.
    """
    moments = moments or Moments()
    radius = recipe.radius_for(nu.shape[1:])
    smooth = Smoothing(recipe.smoothing, nu, colours)
    zero = torch.zeros_like(nu)
    mean, square = (zero if past is None else past for past in (moments.mean, moments.square))  # line 1: mu, sigma
    for k in range(moments.step + 1, recipe.steps + 1):  # line 2; from 1: at 0 the bias correction divides by 0
        batch = sample_batch()  # line 3
        views = sample_views()
        nudged = views.mean_gradients(engine, batch, nu, classes)  # lines 3 and 4
        x = smooth(nudged.gradient)
        mean = BETA1 * mean + (1 - BETA1) * x  # line 5
        square = BETA2 * square + (1 - BETA2) * x * x  # line 6
        v = smooth((mean / (1 - BETA1**k)) / ((square / (1 - BETA2**k)).sqrt() + EPSILON))  # line 7
        sign = better_sign(engine, batch, nu, v, classes) if recipe.sign_test else 1.0  # lines 8 to 10
        nu = nu + sign * step_size(recipe, k) * v  # lines 11 to 14
        nu = project(nu, radius)  # line 15
        moments.step, moments.mean, moments.square = k, mean, square
        yield nu, nudged  # the last one is the result: lines 17 and 18


def step_size(recipe: Recipe, k: int) -> float:
    """Return the factor of the update at step ``k``, counted from 1: the recipe's constant, or falling along a cosine with a decay."""
    fallen = (1 - math.cos(math.pi * (k - 1) / max(recipe.steps - 1, 1))) / 2
    return recipe.step_size * (1 - (1 - recipe.step_decay) * fallen)


def better_sign(engine: Engine, batch: Tensor, nu: Tensor, v: Tensor, classes: Tensor) -> Tensor:
    """Return +1 or -1 per map, (m, 1, 1, 1): whether a unit step along ``v`` or against it makes the class likelier; a tie gives +1.

    Lines 8 to 10 of Algorithm 1.
    """
    unit = v / norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    along = engine.mean_probabilities(batch, nu + unit, classes)
    against = engine.mean_probabilities(batch, nu - unit, classes)
    return torch.where(along >= against, 1.0, -1.0).to(v.dtype).view(-1, 1, 1, 1)


def project(nu: Tensor, radius: float) -> Tensor:
    """Return maps (m, c, h, w), each scaled down to l2 norm ``radius`` if it is longer: line 15 of Algorithm 1."""
    return nu * (radius / norm(nu).clamp_min(torch.finfo(nu.dtype).tiny)).clamp_max(1)


def norm(nu: Tensor) -> Tensor:
    """Return the l2 norm of each map (m, c, h, w) over channels and pixels, as (m, 1, 1, 1)."""
    norms: Tensor = torch.linalg.vector_norm(nu, dim=(1, 2, 3), keepdim=True)
    return norms
