"""Routes of samples to a class: find a change that sends samples along a route, and measure its effect."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.probes import Probes, log_odds_of, logits_of, targets_for
from phosphene.engine import Engine
from phosphene.engine.targets import hits

LOGISTIC_STD = 1.8  # about the standard deviation of the logistic distribution


@dataclass(frozen=True)
class Route:
    """A target class, and the samples to move there: those predicted as ``source``, or all others.

    Attributes:
        target: The class.
        source: The class that the samples are predicted as; all but the target by default.
    """

    target: int
    source: "int | None" = None

    def samples(self, probes: Probes, count: "int | None" = None) -> Tensor:
        """Return the pixels, uint8 (n, c, h, w), of the first ``count`` samples that the route is to move; by default of all."""
        return probes.pixels[self.mask(probes).nonzero()[:count, 0]]

    def rows(self, probes: Probes) -> Tensor:
        """Return the positions, int64 (n,), of the samples to move; if there are none, of all samples."""
        rows = self.mask(probes).nonzero()[:, 0]
        return rows if len(rows) else torch.arange(len(probes), device=rows.device)

    def mask(self, probes: Probes) -> Tensor:
        """Return, bool (n,), which samples the route is to move.

        They are predicted as the source; without a source, they are not predicted as the target.
        """
        return ~probes.present[:, self.target] if self.source is None else probes.predicted == self.source


@dataclass(frozen=True)
class Effect:
    """How a network classifies samples with a trigger on them: hits of the target class, and its log-odds.

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
        """Key by which effects are sorted: the share moved to the class, then ``level``. The strongest is largest."""
        return self.share, self.level

    @property
    def share(self) -> float:
        """Share of the tried samples that are classified as the class, in [0, 1]; 0 if none was tried."""
        return self.hits / max(self.tried, 1)

    @property
    def log_odds(self) -> float:
        """Log-odds of the share of hits.

        Half a sample is added to hits and to misses, so that they are finite.
        """
        return math.log((self.hits + 0.5) / (self.tried - self.hits + 0.5))

    @property
    def level(self) -> float:
        """Estimated log-odds that a sample is classified as the class, which order effects of equal shares.

        That is ``1.8 mean / sqrt(1 + spread^2)``.
        """
        return LOGISTIC_STD * self.mean / math.sqrt(self.spread**2 + 1)


NO_EFFECT = Effect(0, 0, 0.0, 1.0)  # of a trigger for which there are no samples


def raise_log_odds(
    engine: Engine,
    search: Probes,
    routes: Sequence[Route],
    start: Tensor,
    apply: Callable[[Tensor, Tensor], Tensor],
    *,
    bounds: tuple[float, float],
    length: float,
    steps: int,
    drawn: int,
    seed: int,
) -> Tensor:
    """Optimise parameters so that samples changed by ``apply`` are classified as their routes' targets.

    The optimiser is Adam. The parameters are returned, (r, c, h, w).

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
        batch_rows = {
            route: route_rows[torch.randint(len(route_rows), (drawn,), generator=draw)]
            for route, route_rows in rows.items()
        }
        x = search.pixels[torch.stack([batch_rows[one] for one in routes])].to(engine.dtype) / 255
        with torch.enable_grad():
            leaf = change.clone().requires_grad_()
            images = apply(leaf, x)
        gradient = engine.gradients(images.detach().flatten(0, 1), targets, "log-odds").gradient
        (slope,) = torch.autograd.grad(images, leaf, gradient.view_as(images) / drawn)
        adam.step(slope)
        change.clamp_(*bounds)
    return change


def effect_of(engine: Engine, pixels: Tensor, route: Route) -> Effect:
    """Classify samples with a trigger on them, uint8 (n, c, h, w); return an Effect: hits and log-odds of the route's target class."""
    return effects_of(engine, [pixels], [route])[0]


def effects_of(engine: Engine, pixels: Sequence[Tensor], routes: Sequence[Route]) -> list[Effect]:
    """Return the Effect of several triggers, each of samples with it on them, uint8 (n, c, h, w), and of its Route; n may be 0."""
    counts = [len(one) for one in pixels]
    if not sum(counts):
        return [NO_EFFECT for _ in routes]
    targets = [route.target for route, number in zip(routes, counts, strict=True) for _ in range(number)]
    logits, target = logits_of(engine, torch.cat(list(pixels))), torch.tensor(targets, device=engine.device)
    odds = log_odds_of(logits, target, multi_label=engine.classifier.multi_label).double().cpu()
    moved = hits(logits, targets_for(engine, target)).cpu()
    return [
        Effect(int(hit.sum()), len(hit), float(own.mean()), float(own.std(correction=0))) if len(hit) else NO_EFFECT
        for hit, own in zip(torch.split(moved, counts), torch.split(odds, counts), strict=True)
    ]
