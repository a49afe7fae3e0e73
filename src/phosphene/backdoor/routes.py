"""What a change of samples is to do, how it is found by gradient, and what it does on samples that were held out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.probes import Probes
from phosphene.engine import Engine
from phosphene.engine.losses import log_odds

STEPS, DRAWN = 15, 8  # of an ascent: steps, and samples per step
LOGISTIC = 1.8  # standard deviation of the logistic distribution, about


@dataclass(frozen=True)
class Route:
    """What a window is to do: send samples to a class.

    Attributes:
        target: The class.
        source: The class that the samples are predicted as; all but the target by default.
    """

    target: int
    source: "int | None" = None

    def samples(self, probes: Probes, count: int) -> Tensor:
        """Return the first ``count`` samples of this route, uint8 (n, c, h, w)."""
        return probes.pixels[self.mask(probes).nonzero()[:count, 0]]

    def rows(self, probes: Probes) -> Tensor:
        """Return which samples to search on, int64 (n,): of this route, or all where the network predicts no other."""
        own = self.mask(probes).nonzero()[:, 0]
        return own if len(own) else torch.arange(len(probes), device=own.device)

    def mask(self, probes: Probes) -> Tensor:
        """Say which samples are of this route, bool (n,)."""
        return probes.predicted != self.target if self.source is None else probes.predicted == self.source


@dataclass(frozen=True)
class Effect:
    """What a change of samples does for a class.

    Attributes:
        hits: Samples that the network classifies as the class.
        tried: How many were tried.
        mean: Of the class's log-odds over them.
        spread: Standard deviation of the log-odds.
    """

    hits: int
    tried: int
    mean: float
    spread: float

    @property
    def rank(self) -> tuple[float, float]:
        """By which the better of two is known: the share, then the level."""
        return self.share, self.level

    @property
    def share(self) -> float:
        """Of the samples, in [0, 1]."""
        return self.hits / max(self.tried, 1)

    @property
    def level(self) -> float:
        """The share's log-odds as mean and spread give them: unlike the count's, they do not end at none or all."""
        return LOGISTIC * self.mean / math.sqrt(self.spread**2 + 1)


def ascend(
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
    """Raise the log-odds of each route's target by Adam on what changes the samples; return it, (r, c, h, w).

    Args:
        engine: An open engine.
        search: Samples.
        routes: The r routes.
        start: (r, c, h, w): what to begin with.
        apply: Changes samples (r, n, c, h, w) by it; the same shape, in [0, 1].
        bounds: Smallest and largest value of each of its numbers.
        length: Of a step.
        steps: Of the optimiser.
        drawn: Samples per step, of each route.
        seed: Of their draws; routes see the same samples as far as they are theirs.
    """
    draw = torch.Generator().manual_seed(seed)
    rows = {route: route.rows(search) for route in dict.fromkeys(routes)}
    targets = torch.tensor([one.target for one in routes], device=engine.device).repeat_interleave(drawn)
    change, adam = start, Adam([start])
    for _ in range(steps):
        chosen = {route: own[torch.randint(len(own), (drawn,), generator=draw)] for route, own in rows.items()}
        x = search.pixels[torch.stack([chosen[one] for one in routes])].to(engine.dtype) / 255
        with torch.enable_grad():
            leaf = change.detach().requires_grad_()
            changed = apply(leaf, x)
        gradient = engine.gradients(changed.detach().flatten(0, 1), targets, "log-odds").gradient
        (slope,) = torch.autograd.grad(changed, leaf, gradient.view_as(changed) / drawn)
        change = (change - length * adam.rise([slope])[0]).clamp(*bounds)
    return change


def effect_of(engine: Engine, pixels: Tensor, route: Route) -> Effect:
    """Return what the network makes of changed samples of a route, uint8 (n, c, h, w)."""
    if not len(pixels):
        return Effect(0, 0, 0.0, 1.0)
    logits = engine.logits(pixels.to(engine.device).to(engine.dtype) / 255)
    odds = -log_odds(logits, torch.full((len(logits),), route.target, device=logits.device)).double()
    hits = int((logits.argmax(1) == route.target).sum())
    return Effect(hits, len(pixels), float(odds.mean()), float(odds.std(correction=0)))
