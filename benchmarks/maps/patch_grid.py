"""How visible the grid of a transformer's patches is in a map: a measure, and the variants of `vivid` to compare."""

from typing import Any

import torch
from torch import Tensor

WITHOUT_VIEWS: dict[str, Any] = {"view_least": 1.0, "view_most": 1.0, "view_shift": 0.0, "views": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain `vivid`": {},
    "without views": WITHOUT_VIEWS,
    "without both": {**WITHOUT_VIEWS, "smoothing": 0.0},
}


def grid_energy(nu: Tensor, patch: int) -> float:
    """Return how much larger squared differences of neighbours are across patch borders than near them in a map; 1 shows no grid.

    Each border between two columns or two rows of patches is compared with the lines up to half a patch from it, so
    that it does not matter where the map has its edges; all means are geometric.

    Args:
        nu: A map (c, h, w).
        patch: Side of a patch, in pixels, 2 or more; the first patch begins at the first pixel.
    """
    half, ratios = patch // 2, []
    for axis in (1, 2):
        squares = nu.diff(dim=axis).square().movedim(axis, 0).flatten(1).mean(1)  # one value per pair of lines
        energy = squares.clamp_min(torch.finfo(squares.dtype).tiny).log()
        for border in range(patch - 1, len(energy) - half, patch):
            near = energy[border - half : border + half + 1].sum() - energy[border]
            ratios.append(energy[border] - near / (2 * half))
    return float(torch.stack(ratios).mean().exp())
