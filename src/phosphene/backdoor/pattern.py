"""Additive patterns: how faint a change of every pixel sends samples to a class (universal perturbations).

No window has the effect of a trigger that is added to the whole image, blended into it or spread over it. The candidate
is then a pattern of bounded size that raises the class's log-odds on all samples (Moosavi-Dezfooli et al., arXiv
1610.08401).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Effect, Route, effect_of, raise_log_odds
from phosphene.engine import Engine

RELATIVE_STEP_LENGTH = 0.25  # length of a step, relative to the largest change


def find_patterns(
    engine: Engine,
    search: Probes,
    routes: Sequence[Route],
    start: Tensor,
    level: float,
    *,
    steps: int,
    drawn: int,
    seed: int = 0,
) -> Tensor:
    """Optimise an additive pattern for each of r routes; return them, (r, c, h, w) in [-level, level].

    Args:
        engine: An open engine.
        search: Samples that patterns are made from.
        routes: The r routes: which samples each pattern is to send to which class.
        start: Initial patterns, (r, c, h, w).
        level: Largest change of a pixel, in [0, 1].
        steps: Optimiser steps.
        drawn: Samples per step.
        seed: Random seed for the samples of each step.
    """
    return raise_log_odds(
        engine,
        search,
        routes,
        start,
        lambda pattern, x: (x + pattern[:, None]).clamp(0, 1),
        bounds=(-level, level),
        length=RELATIVE_STEP_LENGTH * level,
        steps=steps,
        drawn=drawn,
        seed=seed,
    )


def effect_of_pattern(engine: Engine, held_out: Probes, pattern: Tensor, route: Route, most: int) -> Effect:
    """Return the Effect of a pattern, (c, h, w) in [-1, 1], on up to ``most`` samples that a Route moves.

    The samples with the pattern are rounded to 8 bits.
    """
    return effect_of(engine, add_pattern(pattern, route.samples(held_out, most)), route)


def add_pattern(pattern: Tensor, pixels: Tensor) -> Tensor:
    """Return uint8 samples (n, c, h, w) with a pattern, (c, h, w) in [-1, 1], added to each and clipped."""
    return ((pixels.to(pattern) / 255 + pattern).clamp(0, 1) * 255).round().to(torch.uint8)
