"""Random views of a map: scaled, shifted, rotated and mirrored before it is subtracted. Not in the paper; off by default.

A pattern that only one network responds to depends on single pixels; one that survives being moved has a shape. The
gradient at a view is carried back to the map by the transpose of the view, and Algorithm 1 continues as without views.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.engine import Engine, MeanGradients
from phosphene.engine.statistics import Prior
from phosphene.recipe import Recipe


def draw_views(recipe: Recipe, generators: Sequence[torch.Generator], size: tuple[int, int]) -> "Tensor | None":
    """Draw ``views`` random views of each map; return their affine matrices, or ``None``.

    Args:
        recipe: ``views`` (v, how many per map), ``view_least``, ``view_most``, ``view_shift``, ``view_turn``,
            ``view_mirror``.
        generators: One per map.
        size: Height and width of the maps.

    Returns:
        Affine matrices (m * v, 2, 3), float64, as ``affine_grid`` takes them; ``None``, and nothing is drawn, if the
        recipe has no view but the map itself.
    """
    is_still = recipe.view_least == recipe.view_most == 1 and recipe.view_shift == 0 and recipe.view_turn == 0
    if is_still and not recipe.view_mirror:
        return None
    count = recipe.views or recipe.batch_size
    numbers_per_view = 5 if recipe.view_mirror else 4  # so that a recipe without mirroring draws what it always drew
    uniform = torch.stack(
        [torch.rand((count, numbers_per_view), generator=one, dtype=torch.float32) for one in generators]
    )
    affine = _affine(uniform.flatten(0, 1).double() * 2 - 1, recipe)
    height, width = size  # affine_grid spans 2 along either side: a rotation needs their ratio
    return affine * torch.tensor([[1, height / width, 1], [width / height, 1, 1]], dtype=affine.dtype)


def mean_view_gradients(
    engine: Engine,
    samples: Tensor,
    nu: Tensor,
    views: "Tensor | None",
    classes: Tensor,
    loss: str,
    prior: "Prior | None" = None,
) -> MeanGradients:
    """Return the mean gradient, cross-entropy and hits per map, over samples less views of the map.

    The gradient is that of the loss at the network's input, opposite in sign to the map's.

    Args:
        engine: Calls the network.
        samples: uint8 (m, b, c, h, w).
        nu: Maps (m, c, h, w).
        views: From :func:`draw_views`, of the maps' type and on their device.
        classes: int64 (m,), or the targets of m concepts (:mod:`phosphene.engine.targets`).
        loss: The loss to differentiate.
        prior: Adds the gradient of the features' statistics.
    """
    if views is None:
        return engine.mean_gradients(samples, nu, classes, loss, prior)
    count = len(views) // len(nu)
    samples_per_view = samples.reshape(len(views), -1, *nu.shape[1:])
    with torch.enable_grad():
        leaf = nu.detach().requires_grad_()
        map_views = apply_views(leaf, views)
    classes_per_view, prior = classes.repeat_interleave(count, 0), prior and prior._replace(views=count)
    view_means = engine.mean_gradients(samples_per_view, map_views.detach(), classes_per_view, loss, prior)
    (gradient,) = torch.autograd.grad(map_views, leaf, view_means.gradient / count)  # the transpose of all views
    return MeanGradients(gradient, *(value.view(-1, count).mean(1) for value in view_means[1:]))


def apply_views(nu: Tensor, views: Tensor) -> Tensor:
    """Return the views (m * v, c, h, w) of maps (m, c, h, w), differentiable by the maps.

    A view is 0 where it leaves the map.
    """
    maps = nu.repeat_interleave(len(views) // len(nu), 0)
    grid = functional.affine_grid(views, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, align_corners=False)


def _affine(uniform: Tensor, recipe: Recipe) -> Tensor:
    """Return affine matrices (n, 2, 3) from view to map, for random numbers (n, 4 or 5) in [-1, 1].

    The recipe's limits give zoom, angle, shift and mirroring.
    """
    low, high = math.log(recipe.view_least), math.log(recipe.view_most)
    zoom = torch.exp(-(low + (high - low) * (uniform[:, 0] + 1) / 2))  # the inverse: from the view to the map
    angle = uniform[:, 1] * math.radians(recipe.view_turn)
    shift = uniform[:, 2:4] * 2 * recipe.view_shift  # the grid spans 2
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    x_row = torch.stack([cosine, sine], 1)
    if recipe.view_mirror:
        x_row = torch.where(uniform[:, 4:] < 0, -x_row, x_row)
    return torch.stack([x_row, torch.stack([-sine, cosine], 1), shift], 2)
