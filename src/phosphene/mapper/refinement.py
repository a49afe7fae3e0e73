"""Eq. 2 of Akhtar & Jalwana (arXiv 2303.17836): keep what the network answers to, shrink the rest."""

from collections.abc import Iterator

import torch
from torch import Tensor

from phosphene.engine import Engine, Nudge
from phosphene.mapper.algorithm import Draw, project
from phosphene.recipe import Recipe


def refine(
    engine: Engine, draw: Draw, classes: Tensor, nu: Tensor, xi: Tensor, recipe: Recipe
) -> Iterator[tuple[Tensor, Nudge]]:
    """Minimise ``E[J(I - nu)] + lambda mean |nu (1 - Xi)|`` with Adam; yield the maps after every step.

    The last maps that are yielded are clipped to [-1, 1] (a map is a difference of pictures) and projected.

    Args:
        engine: Calls the network.
        draw: Gives a fresh mini-batch for every map: uint8 (m, b, c, h, w).
        classes: int64 (m,).
        nu: (m, c, h, w): maps from Algorithm 1.
        xi: (m, 1, h, w) in [0, 1], fixed during the refinement.
        recipe: ``refine_steps``, ``refine_lr``, ``penalty`` (lambda), ``radius`` (eta).
    """
    weight = recipe.penalty * (1 - xi) / nu[0].numel()
    nu = nu.clone()
    adam = torch.optim.Adam([nu], lr=recipe.refine_lr)
    for step in range(1, recipe.refine_steps + 1):
        nudge = engine.nudge(draw(), nu, classes, recipe.loss)
        # d/d nu of J(I - nu) is minus the gradient at the input, which is taken there and not through the clip.
        nu.grad = -nudge.gradient + weight * nu.sign()
        adam.step()
        last = step == recipe.refine_steps
        yield project(nu.clamp(-1, 1), recipe.radius_for(nu.shape[1:])) if last else nu.clone(), nudge
