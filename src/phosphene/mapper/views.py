"""Random views of a map: scaled, shifted and turned before it is subtracted.

A pattern that only one network reads sits on single pixels; one that survives being moved has a shape. The network's
answer to a view is carried back to the map by the transpose of the view, so that Algorithm 1 sees a gradient as before.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.engine import Engine, Nudge
from phosphene.recipe import Recipe


class Views:
    """Views of m maps, so many of each as the recipe says, drawn from each map's own generator.

    Args:
        recipe: ``views``, ``view_least``, ``view_most``, ``view_shift``, ``view_turn``.
        generators: One a map.
    """

    def __init__(self, recipe: Recipe, generators: Sequence[torch.Generator]) -> None:
        self.loss = recipe.loss
        self.count = recipe.views or recipe.batch_size
        self.still = recipe.view_least == recipe.view_most == 1 and recipe.view_shift == 0 and recipe.view_turn == 0
        if not self.still:
            draws = torch.stack([torch.rand((self.count, 4), generator=own) for own in generators])
            self.affine = _affine(draws.flatten(0, 1).double() * 2 - 1, recipe)

    def nudge(self, engine: Engine, samples: Tensor, nu: Tensor, classes: Tensor) -> Nudge:
        """Nudge each map's samples, uint8 (m, b, c, h, w), shared out between its views; see :meth:`Engine.nudge`."""
        if self.still:
            return engine.nudge(samples, nu, classes, self.loss)
        shared = samples.reshape(len(nu) * self.count, -1, *nu.shape[1:])
        with torch.enable_grad():
            leaf = nu.detach().requires_grad_()
            seen = self.look(leaf)
        answer = engine.nudge(shared, seen.detach(), classes.repeat_interleave(self.count), self.loss)
        (carried,) = torch.autograd.grad(seen, leaf, answer.gradient / self.count)  # the transpose of all views at once
        loss, hits = (fact.view(-1, self.count).mean(1) for fact in (answer.loss, answer.hits))
        return Nudge(carried, loss, hits)

    def look(self, nu: Tensor) -> Tensor:
        """Return the views (m * views, c, h, w) of maps (m, c, h, w); outside the map there is nothing to subtract."""
        seen = nu.repeat_interleave(self.count, 0)
        height, width = nu.shape[-2:]  # the grid spans 2 along either side: what is turned goes by their ratio
        sides = torch.tensor([[1, height / width, 1], [width / height, 1, 1]], dtype=self.affine.dtype)
        grid = functional.affine_grid((self.affine * sides).to(nu), list(seen.shape), align_corners=False)
        return functional.grid_sample(seen, grid, align_corners=False)


def _affine(draws: Tensor, recipe: Recipe) -> Tensor:
    """Turn uniform draws (n, 4) in [-1, 1] into affine matrices (n, 2, 3) from view to map coordinates."""
    low, high = math.log(recipe.view_least), math.log(recipe.view_most)
    zoom = torch.exp(-(low + (high - low) * (draws[:, 0] + 1) / 2))  # the inverse: from the view to the map
    angle = draws[:, 1] * math.radians(recipe.view_turn)
    shift = draws[:, 2:] * 2 * recipe.view_shift  # the grid spans 2
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    return torch.stack([torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], 1)
