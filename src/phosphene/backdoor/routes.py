"""Routes of samples to a class: find a change that sends samples along a route, and measure its effect."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.probes import Probes, log_odds_of, targets_for
from phosphene.engine import Engine
from phosphene.engine.targets import hits

STEPS, DRAWN = 15, 8  # steps of an ascent, and samples per step
LOGISTIC = 1.8  # about the standard deviation of the logistic distribution


@dataclass(frozen=True)
class Route:
    """A target class, and which samples to move there: those predicted as ``source``, or all that are not predicted as the target.

    Attributes:
        target: The class.
        source: The class that the samples are predicted as; all but the target by default.
    """

    target: int
    source: "int | None" = None

    def samples(self, probes: Probes, count: int) -> Tensor:
        """Return pixels, uint8 (n, c, h, w), of the first ``count`` samples that the route is to move; empty if there are none."""
        return probes.pixels[self.mask(probes).nonzero()[:count, 0]]

    def rows(self, probes: Probes) -> Tensor:
        """Return the positions, int64 (n,), of the samples to move, chosen by predicted class (see :meth:`mask`); if none fits, of all."""
        own = self.mask(probes).nonzero()[:, 0]
        return own if len(own) else torch.arange(len(probes), device=own.device)

    def mask(self, probes: Probes) -> Tensor:
        """Return, bool (n,), which Probes the route is to move: predicted as the source; without a source, not predicted as the target."""
        return ~probes.present[:, self.target] if self.source is None else probes.predicted == self.source


@dataclass(frozen=True)
class Effect:
    """How a network classifies samples with a trigger on them: number tried, hits of the target class, its log-odds' mean and std.

    Attributes:
        hits: Samples that the network classifies as the class; of a multi-label network, whose class has a probability
            above one half.
        tried: Number of samples that were tried.
        mean: Mean of the class's log-odds over the samples.
        spread: Standard deviation of the log-odds.
    """

    hits: int
    tried: int
    mean: float
    spread: float

    @property
    def rank(self) -> tuple[float, float]:
        """Key by which effects are sorted, the strongest the largest: the share moved to the class, then ``level`` for equal shares."""
        return self.share, self.level

    @property
    def share(self) -> float:
        """Share of the tried samples that are classified as the target class, in [0, 1]; 0 if none was tried."""
        return self.hits / max(self.tried, 1)

    @property
    def log_odds(self) -> float:
        """Log-odds, one float, of this Effect's share of hits; half a sample is added to hits and misses so that it is finite."""
        return math.log((self.hits + 0.5) / (self.tried - self.hits + 0.5))

    @property
    def level(self) -> float:
        """Estimated log-odds that a sample is classified as the target, ``1.8 mean / sqrt(1 + spread^2)``; it orders equal shares."""
        return LOGISTIC * self.mean / math.sqrt(self.spread**2 + 1)


def raise_log_odds(
    engine: Engine,
    search: Probes,
    routes: Sequence[Route],
    start: Tensor,
    apply: Callable[[Tensor, Tensor], Tensor],
    *,
    bounds: tuple[float, float],
    length: float,
    steps: int = STEPS,
    drawn: int = DRAWN,
    seed: int = 0,
) -> Tensor:
    """Optimise parameters by Adam so that samples changed by ``apply(parameters, samples)`` go to their routes' targets; return parameters.

    Args:
        engine: An open engine.
        search: Samples.
        routes: The r routes.
        start: Initial parameters, (r, c, h, w).
        apply: Function of parameters and samples (r, n, c, h, w) that returns the changed samples, in [0, 1].
        bounds: Smallest and largest value of a parameter.
        length: Length of a step.
        steps: Optimiser steps.
        drawn: Samples per step and route.
        seed: Random seed for the samples of each step; routes with the same samples draw the same ones.
    """
    draw = torch.Generator().manual_seed(seed)
    rows = {route: route.rows(search) for route in dict.fromkeys(routes)}
    targets = torch.tensor([one.target for one in routes], device=engine.device).repeat_interleave(drawn)
    targets = targets_for(engine, targets)
    change = start.clone()
    adam = Adam(change, length)
    for _ in range(steps):
        chosen = {route: own[torch.randint(len(own), (drawn,), generator=draw)] for route, own in rows.items()}
        x = search.pixels[torch.stack([chosen[one] for one in routes])].to(engine.dtype) / 255
        with torch.enable_grad():
            leaf = change.clone().requires_grad_()
            changed = apply(leaf, x)
        gradient = engine.gradients(changed.detach().flatten(0, 1), targets, "log-odds").gradient
        (slope,) = torch.autograd.grad(changed, leaf, gradient.view_as(changed) / drawn)
        adam.step(slope)
        change.clamp_(*bounds)
    return change


def effect_of(engine: Engine, pixels: Tensor, route: Route) -> Effect:
    """Classify samples with a trigger on them, uint8 (n, c, h, w); return an Effect: hits and log-odds of the route's target class."""
    if not len(pixels):
        return Effect(0, 0, 0.0, 1.0)
    logits = engine.logits(pixels.to(engine.device).to(engine.dtype) / 255)
    target = torch.full((len(logits),), route.target, device=logits.device)
    odds = log_odds_of(logits, target, multi_label=engine.classifier.multi_label).double()
    moved = int(hits(logits, targets_for(engine, target)).sum())
    return Effect(moved, len(pixels), float(odds.mean()), float(odds.std(correction=0)))
