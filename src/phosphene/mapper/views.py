"""Random views of a map: scaled, shifted and rotated before it is subtracted. Not in the paper; off by default.

A pattern that only one network responds to depends on single pixels; one that survives being moved has a shape. The
gradient at a view is carried back to the map by the transpose of the view, and Algorithm 1 continues as without views.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.engine import Engine, MeanGradients
from phosphene.recipe import Recipe


class Views:
    """Random scalings, shifts and rotations of m maps for one step, drawn from each map's own generator; identity if the recipe has none.

    Args:
        recipe: ``views`` (how many per map), ``view_least``, ``view_most``, ``view_shift``, ``view_turn``.
        generators: One per map.
    """

    def __init__(self, recipe: Recipe, generators: Sequence[torch.Generator]) -> None:
        self.loss = recipe.loss
        self.count = recipe.views or recipe.batch_size
        self.identity = recipe.view_least == recipe.view_most == 1 and recipe.view_shift == 0 and recipe.view_turn == 0
        if not self.identity:
            uniform = torch.stack([torch.rand((self.count, 4), generator=generator) for generator in generators])
            self.affine = _affine(uniform.flatten(0, 1).double() * 2 - 1, recipe)

    def mean_gradients(self, engine: Engine, samples: Tensor, nu: Tensor, classes: Tensor) -> MeanGradients:
        """Return the loss gradient, loss and hits of each map, averaged over its samples and views, (m, c, h, w) and (m,) each."""
        if self.identity:
            return engine.mean_gradients(samples, nu, classes, self.loss)
        samples_per_view = samples.reshape(len(nu) * self.count, -1, *nu.shape[1:])
        with torch.enable_grad():
            leaf = nu.detach().requires_grad_()
            views = self.apply(leaf)
        nudged = engine.mean_gradients(
            samples_per_view, views.detach(), classes.repeat_interleave(self.count), self.loss
        )
        (gradient,) = torch.autograd.grad(views, leaf, nudged.gradient / self.count)  # the transpose of all views
        loss, hits = (value.view(-1, self.count).mean(1) for value in (nudged.loss, nudged.hits))
        return MeanGradients(gradient, loss, hits)

    def apply(self, nu: Tensor) -> Tensor:
        """Return the random views (m * views, c, h, w) of maps (m, c, h, w), differentiable by the maps; 0 where a view leaves the map."""
        maps = nu.repeat_interleave(self.count, 0)
        height, width = nu.shape[-2:]  # affine_grid spans 2 along either side: a rotation needs their ratio
        sides = torch.tensor([[1, height / width, 1], [width / height, 1, 1]], dtype=self.affine.dtype)
        grid = functional.affine_grid((self.affine * sides).to(nu), list(maps.shape), align_corners=False)
        return functional.grid_sample(maps, grid, align_corners=False)


def _affine(uniform: Tensor, recipe: Recipe) -> Tensor:
    """Return affine matrices (n, 2, 3) from view to map coordinates, from random numbers (n, 4) in [-1, 1], within the recipe's limits."""
    low, high = math.log(recipe.view_least), math.log(recipe.view_most)
    zoom = torch.exp(-(low + (high - low) * (uniform[:, 0] + 1) / 2))  # the inverse: from the view to the map
    angle = uniform[:, 1] * math.radians(recipe.view_turn)
    shift = uniform[:, 2:] * 2 * recipe.view_shift  # the grid spans 2
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    return torch.stack([torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], 1)
