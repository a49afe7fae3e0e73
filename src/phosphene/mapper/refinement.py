"""Eq. 2 of Akhtar & Jalwana (arXiv 2303.17836): keep what the network responds to, shrink the rest."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import render
from phosphene.engine import Engine
from phosphene.mapper.algorithm import BETA1, BETA2, EPSILON, Moments, project, scalars
from phosphene.mapper.draws import Draw
from phosphene.recipe import Recipe


def activation_weights(engine: Engine, nu: Tensor, layer: str, contrast: float) -> Tensor:
    """Return Xi of Eq. 2, (m, 1, h, w) in [0, 1]: where ``layer`` responds to the images of maps (m, c, h, w).

    The output of the module ``layer`` for the image of each map: its positive part, averaged over channels, resized
    bilinearly to the map, and scaled to [0, 1] per map. All zeros if the activation is constant.
    """
    activation = engine.activations(render(nu, contrast), layer).to(nu.dtype).relu().mean(1, keepdim=True)
    xi = functional.interpolate(activation, nu.shape[-2:], mode="bilinear", align_corners=False)
    low, high = xi.amin((1, 2, 3), keepdim=True), xi.amax((1, 2, 3), keepdim=True)
    # Interpolation changes a constant in its last bits, which must not be stretched to [0, 1].
    constant = high - low <= 1e-6 * high.abs()
    return torch.where(constant, 0.0, (xi - low) / (high - low).clamp_min(torch.finfo(xi.dtype).tiny))


def refine(
    engine: Engine,
    draws: Iterator[Draw],
    classes: Tensor,
    nu: Tensor,
    xi: Tensor,
    recipe: Recipe,
    moments: Moments,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Refine m maps by Adam on Eq. 2 of the paper; yield after every step.

    Eq. 2 is ``E[J(I - nu)] + lambda mean |nu (1 - Xi)|``, where J is the loss of the map's class for a sample I. After
    each step it yields maps (m, c, h, w), cross-entropies (m,), and shares of samples classified as the map's class (m,).
    The last maps that are yielded are clipped to [-1, 1] (a map is a difference of images) and projected on the ball.

    Args:
        engine: Calls the network.
        draws: For every step, a mini-batch per map.
        classes: int64 (m,), or the targets of m concepts (:mod:`phosphene.engine.targets`).
        nu: (m, c, h, w): maps from Algorithm 1.
        xi: (m, 1, h, w) in [0, 1], from :func:`activation_weights`; fixed during the refinement.
        recipe: ``refine_steps``, ``refine_lr``, ``penalty`` (lambda), ``radius`` (eta).
        moments: Those that the steps go on from; updated at every step.
    """

    def one_step(
        batch: Tensor,
        size: Tensor,
        bias2: Tensor,
        classes: Tensor,
        nu: Tensor,
        mean: Tensor,
        square: Tensor,
        xi: Tensor,
    ) -> tuple[Tensor, ...]:
        """Take one Adam step on Eq. 2 without projection, as a function of tensors, so that a GPU can replay it."""
        batch_means = engine.mean_gradients(batch, nu, classes, recipe.loss)
        # d/d nu of J(I - nu) is minus the gradient at the input, which is taken there and not through the clip.
        slope = -batch_means.gradient + recipe.penalty * (1 - xi) / nu[0].numel() * nu.sign()
        mean = mean.lerp(slope, 1 - BETA1)
        square = (BETA2 * square).addcmul(slope, slope, value=1 - BETA2)
        nu = nu + size * mean / (square.sqrt() / bias2 + EPSILON)
        return nu, mean, square, batch_means.loss, batch_means.hits

    step = engine.captured(one_step, recipe)
    for k, (batch, _) in zip(range(moments.step + 1, recipe.refine_steps + 1), draws, strict=False):
        size, bias2 = scalars(nu, -recipe.refine_lr / (1 - BETA1**k), (1 - BETA2**k) ** 0.5)
        nu, moments.mean, moments.square, loss, hits = step(
            batch, size, bias2, classes, nu, moments.mean, moments.square, xi
        )
        moments.step = k
        is_last = k == recipe.refine_steps
        yield project(nu.clamp(-1, 1), recipe.radius_for(nu.shape[1:])) if is_last else nu, loss, hits
