"""Algorithm 1 of Akhtar & Jalwana (arXiv 2303.17836): accumulate gradients into a norm-bounded map."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from phosphene.engine import Engine
from phosphene.engine.gradients import norm
from phosphene.engine.statistics import Prior, is_measured
from phosphene.mapper.draws import Draw
from phosphene.mapper.smoothing import Smoothing, centre_window
from phosphene.mapper.views import mean_view_gradients
from phosphene.recipe import Recipe

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(eq=False)
class Moments:
    """Adam's moments of m maps, updated in place, so that an optimization can resume.

    Attributes:
        mean: First moment, mu in the paper, (m, c, h, w).
        square: Second moment, sigma in the paper, (m, c, h, w).
        step: Steps taken.
        weight: The weight of the statistics' divergence, as last measured (see Prior), (m,); not in the paper.
    """

    mean: Tensor
    square: Tensor
    step: int = 0
    weight: "Tensor | None" = None

    @classmethod
    def zero(cls, nu: Tensor) -> Self:
        """Return the moments of maps ``nu`` (m, c, h, w) before the first step (line 1 of Algorithm 1)."""
        return cls(torch.zeros_like(nu), torch.zeros_like(nu))


def accumulate(
    engine: Engine,
    draws: Iterator[Draw],
    classes: Tensor,
    nu: Tensor,
    recipe: Recipe,
    moments: Moments,
    colours: "Tensor | None",
    prior: "Prior | None",
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Run Algorithm 1 on m maps, starting from ``nu``; yield after every step.

    Each step yields the maps (m, c, h, w), their losses (m,), and per map the share of samples that hit (m,).

    A sample hits if it is classified as its map's class. Samples, and views of the maps, come from ``draws``.

    Args:
        engine: Calls the network.
        draws: For every step, a mini-batch per map and random views of the maps; the paper uses the map itself.
        classes: int64 (m,), or the targets of m concepts (:mod:`phosphene.engine.targets`).
        nu: (m, c, h, w): the map that each starts from (the paper's seed).
        recipe: ``steps`` (K), ``radius`` (eta), ``step_size``, ``sign_test``; not in the paper: ``step_decay``,
            ``smoothing``, ``centre``.
        moments: Those that the steps go on from; updated at every step.
        colours: (c, c), see :func:`phosphene.mapper.smoothing.colour_matrix`; not in the paper.
        prior: Adds the gradient of the features' statistics to that of the loss; not in the paper.
    """
    radius = recipe.radius_for(nu.shape[1:])
    smooth, window = Smoothing(recipe.smoothing, nu, colours), centre_window(recipe.centre, nu)

    def one_step(
        batch: Tensor, views: "Tensor | None", bias1: Tensor, bias2: Tensor, size: Tensor,
        classes: Tensor, nu: Tensor, mean: Tensor, square: Tensor, weight: "Tensor | None",
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Take one step (lines 3 to 15), as a function of tensors, so that a GPU can replay it."""
        weighted_prior = prior and prior._replace(weight=weight)
        batch_means = mean_view_gradients(engine, batch, nu, views, classes, recipe.loss, weighted_prior)  # lines 3, 4
        x = smooth(batch_means.gradient)
        mean = BETA1 * mean + (1 - BETA1) * x  # line 5
        square = BETA2 * square + (1 - BETA2) * x * x  # line 6
        v = window * smooth((mean / bias1) / ((square / bias2).sqrt() + EPSILON))  # line 7
        sign = better_sign(engine, batch, nu, v, classes) if recipe.sign_test else 1.0  # lines 8 to 10
        nu = nu + sign * size * v  # lines 11 to 14
        nu = project(nu, radius)  # line 15
        return nu, mean, square, batch_means.weight, batch_means.loss, batch_means.hits

    step = engine.captured(one_step, recipe, None if colours is None else tuple(colours.flatten().tolist()), prior)
    # Line 2; from 1: at 0 the bias correction divides by 0.
    for k, (batch, views) in zip(range(moments.step + 1, recipe.steps + 1), draws, strict=False):
        bias1, bias2, size = scalars(nu, 1 - BETA1**k, 1 - BETA2**k, step_size(recipe, k))
        weight = None if prior is None or is_measured(k) else moments.weight
        nu, moments.mean, moments.square, moments.weight, loss, hits = step(
            batch, views, bias1, bias2, size, classes, nu, moments.mean, moments.square, weight
        )
        moments.step = k
        yield nu, loss, hits  # the last maps are the result: lines 17 and 18


def scalars(like: Tensor, *values: float) -> tuple[Tensor, ...]:
    """Return ``values`` as 0-dimensional tensors of the type and device of ``like``.

    They change from step to step, so a CUDA graph takes them as inputs.
    """
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True).unbind()


def step_size(recipe: Recipe, k: int) -> float:
    """Return the size of step ``k``, counted from 1.

    It falls along a cosine from the recipe's ``step_size`` to ``step_decay`` times that.
    """
    progress = (1 - math.cos(math.pi * (k - 1) / max(recipe.steps - 1, 1))) / 2
    return recipe.step_size * (1 - (1 - recipe.step_decay) * progress)


def better_sign(engine: Engine, batch: Tensor, nu: Tensor, v: Tensor, classes: Tensor) -> Tensor:
    """Return the sign (+1 or -1), per map, of the step along ``v`` that makes its class likelier: (m, 1, 1, 1).

    Lines 8 to 10 of Algorithm 1. The step has l2 norm 1; the class's probability is the mean over ``batch`` less the map.
    """
    direction = v / norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    p_along = engine.mean_probabilities(batch, nu + direction, classes)
    p_against = engine.mean_probabilities(batch, nu - direction, classes)
    return torch.where(p_along >= p_against, 1.0, -1.0).to(v.dtype).view(-1, 1, 1, 1)


def project(nu: Tensor, radius: float) -> Tensor:
    """Return maps (m, c, h, w), scaled down to l2 norm ``radius`` where longer (line 15 of Algorithm 1)."""
    return nu * (radius / norm(nu).clamp_min(torch.finfo(nu.dtype).tiny)).clamp_max(1)
