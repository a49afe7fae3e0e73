"""Eq. 2 of Akhtar & Jalwana (arXiv 2303.17836): keep what the network responds to, shrink the rest."""

from collections.abc import Iterator

import torch
from torch import Tensor

from phosphene.engine import Engine, MeanGradients
from phosphene.mapper.algorithm import Moments, SampleBatch, project
from phosphene.recipe import Recipe


def refine(
    engine: Engine,
    sample_batch: SampleBatch,
    classes: Tensor,
    nu: Tensor,
    xi: Tensor,
    recipe: Recipe,
    moments: "Moments | None" = None,
) -> Iterator[tuple[Tensor, MeanGradients]]:
    """Minimise ``E[J(I - nu)] + lambda mean |nu (1 - Xi)|`` with Adam (Eq. 2) on m maps; yield maps and gradients after every step.

    The last maps that are yielded are clipped to [-1, 1] (a map is a difference of images) and projected on the ball.

    Args:
        engine: Calls the network.
        sample_batch: Returns a new mini-batch for every map: uint8 (m, b, c, h, w).
        classes: int64 (m,).
        nu: (m, c, h, w): maps from Algorithm 1.
        xi: (m, 1, h, w) in [0, 1], fixed during the refinement.
        recipe: ``refine_steps``, ``refine_lr``, ``penalty`` (lambda), ``radius`` (eta).
        moments: State to resume from; updated at every step.
    """
    moments = moments or Moments()
    weight = recipe.penalty * (1 - xi) / nu[0].numel()
    nu = nu.clone()
    adam = torch.optim.Adam([nu], lr=recipe.refine_lr)
    if moments.mean is not None and moments.square is not None:
        step = torch.tensor(float(moments.step))  # the optimizer's own type
        adam.state[nu] = {"step": step, "exp_avg": moments.mean.clone(), "exp_avg_sq": moments.square.clone()}
    for k in range(moments.step + 1, recipe.refine_steps + 1):
        nudged = engine.mean_gradients(sample_batch(), nu, classes, recipe.loss)
        # d/d nu of J(I - nu) is minus the gradient at the input, which is taken there and not through the clip.
        nu.grad = -nudged.gradient + weight * nu.sign()
        adam.step()
        moments.step, moments.mean, moments.square = k, adam.state[nu]["exp_avg"], adam.state[nu]["exp_avg_sq"]
        last = k == recipe.refine_steps
        yield project(nu.clamp(-1, 1), recipe.radius_for(nu.shape[1:])) if last else nu.clone(), nudged
