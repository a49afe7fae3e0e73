"""Uncertainty of scores: 95 % intervals over the maps."""

import math

import torch
from torch import Tensor

from phosphene.metrics.m_score import m_score_of_divergence

DRAWS = 2000
# Random numbers per batch; bounds the memory for runs of many maps.
BATCH = 4_000_000
QUANTILE = 1.959963984540054  # 97.5 % of the standard normal distribution


def m_score_interval(divergences: Tensor, concepts: int, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (low, high) of ``M_score`` over maps, in [1 / concepts, 1].

    The divergences are resampled, with the marginal held where all maps put it. Resampling the maps themselves would
    drop a third of the concepts in every draw, and an absent concept lowers the score: ten perfect maps of ten concepts
    would come out as about 0.6. Holding the marginal is right to first order: the influence of one map on
    ``mean KL(p_i || mean p)`` is ``KL(p_i || mean p)`` less the mean, because the marginal is where the mean divergence
    is least.

    The interval covers other maps (of other seeds), which it assumes to be independent, not other concepts. Maps that
    all have the same divergence give an interval of zero width, however few they are.

    Args:
        divergences: ``KL(p_i || marginal)`` of each map in nats, (maps,).
        concepts: L.
        draws: Number of resamples.
        seed: Random seed for the resamples; the same maps always give the same interval.

    Example:
        >>> m_score_interval(torch.full((10,), 10.0).log(), 10)
        (1.0, 1.0)
    """
    count = len(divergences)
    values = divergences.detach().double().cpu()
    generator = torch.Generator().manual_seed(seed)
    step = max(1, BATCH // count)
    means = torch.cat(
        [
            values[torch.randint(count, (min(step, draws - start), count), generator=generator)].mean(1)
            for start in range(0, draws, step)
        ]
    )
    ends = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64))
    estimate = values.mean()  # few draws must not leave it outside the interval
    low, high = min(ends[0], estimate), max(ends[1], estimate)
    return m_score_of_divergence(low, concepts), m_score_of_divergence(high, concepts)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval (low, high), in [0, 1], of the share ``hits / count``.

    Not a bootstrap, which for ten hits of ten returns [1, 1], as if ten maps left no doubt; this returns [0.72, 1].

    Raises:
        ValueError: ``count`` is not above 0, or ``hits`` is not within it.

    Example:
        >>> low, high = wilson(10, 10)
        >>> round(low, 3), high
        (0.722, 1.0)
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"{hits} hits of {count}; there must be at least 1, and not more hits than that.")
    share, square = hits / count, QUANTILE**2 / count
    centre = (share + square / 2) / (1 + square)
    half_width = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return (0.0 if hits == 0 else centre - half_width), (1.0 if hits == count else centre + half_width)
