"""What every step draws, mini-batches and views, drawn some steps ahead from each map's own generator."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from phosphene.mapper.views import draw_views
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool


class Draw(NamedTuple):
    """What one step draws for m maps: a mini-batch for each, and random views of the maps.

    Attributes:
        samples: A mini-batch per map, uint8 (m, b, c, h, w).
        views: From :func:`phosphene.mapper.views.draw_views`, in the type of the maps; ``None`` for the map itself.
    """

    samples: Tensor
    views: "Tensor | None"


def draw_ahead(
    pool: SamplePool,
    recipe: Recipe,
    generators: Sequence[torch.Generator],
    steps: int,
    ahead: int,
    dtype: "torch.dtype | None",
) -> Iterator[Draw]:
    """Yield one Draw per step; those of ``ahead`` steps are drawn and moved to the device together.

    Every generator gives its numbers in the order of the steps, so they do not depend on ``ahead``. After a multiple
    of ``ahead`` steps, and after the last one, the generators have given what these steps needed and no more.

    Args:
        pool: Samples, on the device of the maps.
        recipe: ``batch_size`` and the fields of the views.
        generators: One per map.
        steps: How many steps.
        ahead: How many are drawn at once.
        dtype: Type of the maps that are viewed; ``None`` for no views (Eq. 2).
    """
    height, width = pool.pixels.shape[-2:]
    for start in range(0, steps, ahead):
        rows, views = [], []
        for _ in range(min(ahead, steps - start)):
            rows.append(pool.draw_rows(recipe.batch_size, generators))
            views.append(None if dtype is None else draw_views(recipe, generators, (height, width)))
        matrices = [one for one in views if one is not None]
        view_matrices = torch.stack(matrices).to(pool.pixels.device, dtype) if matrices else [None] * len(rows)
        for step_rows, step_views in zip(torch.stack(rows).to(pool.pixels.device), view_matrices, strict=True):
            yield Draw(pool.pixels[step_rows], step_views)
