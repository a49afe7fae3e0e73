"""What maps depend on: the share of each factor (image, class, network) in a full design of maps.

Makes "weak dependence on the model" (Definition 2 of Akhtar & Jalwana, arXiv 2303.17836) a figure: a method whose maps
hardly change with the network has a small share wherever the network's name stands.
"""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor

CONSTANT = "constant"


def shares(features: Tensor, factors: Sequence[str]) -> dict[str, float]:
    """Return the share of the maps' energy that each factor, and each combination of factors, accounts for.

    Variance components of a balanced design with random levels, by the method of moments, so that few levels do not
    inflate a share: maps of pure noise give 1 to the last combination and about 0 to all others. Estimates below 0
    count as 0; the shares add up to 1, or are all 0 where no map shows anything.

    Args:
        features: One vector per map, (levels of the first factor, ..., levels of the last factor, d). Each is centred
            and scaled to length 1 first; one without any contrast stays 0.
        factors: The factors' names.

    Returns:
        ``constant`` (what all maps have in common), then every factor, then every combination, joined by " x ". The
        last one, of all factors, holds what no smaller combination foretells, noise included.

    Raises:
        ValueError: a factor has fewer than two levels, or there is not one name for each.

    Example:
        >>> import torch
        >>> one_a_row = torch.eye(4)[:, None].expand(4, 3, 4)
        >>> {name: round(share, 2) for name, share in shares(one_a_row, ["image", "network"]).items()}
        {'constant': 0.0, 'image': 1.0, 'network': 0.0, 'image x network': 0.0}
    """
    levels = features.shape[:-1]
    if len(levels) != len(factors) or min(levels, default=0) < 2:
        raise ValueError(f"a design of {tuple(levels)} maps and factors {list(factors)}: name each, 2 levels or more.")
    centred = features.double() - features.double().mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    maps = centred / length.where(length > 1e-9, math.inf)

    everything = range(len(levels))
    subsets = [chosen for size in range(len(levels) + 1) for chosen in itertools.combinations(everything, size)]
    # Energy of the means over all factors but the chosen, counted once per map.
    energy = {}
    for chosen in subsets:
        others = tuple(axis for axis in everything if axis not in chosen)
        means = maps.mean(others) if others else maps
        energy[chosen] = float(means.square().sum()) * math.prod(levels[axis] for axis in others)
    mean_square = {
        chosen: sum((-1) ** (len(chosen) - len(part)) * energy[part] for part in subsets if set(part) <= set(chosen))
        / math.prod(levels[axis] - 1 for axis in chosen)
        for chosen in subsets
    }
    component = {}
    for chosen in subsets:
        above = [whole for whole in subsets if set(whole) >= set(chosen)]
        total = sum((-1) ** (len(whole) - len(chosen)) * mean_square[whole] for whole in above)
        component[chosen] = max(total / math.prod(levels[axis] for axis in everything if axis not in chosen), 0.0)
    total = sum(component.values()) or 1.0
    return {" x ".join(factors[axis] for axis in chosen) or CONSTANT: component[chosen] / total for chosen in subsets}
