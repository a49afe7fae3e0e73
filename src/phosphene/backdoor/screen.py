"""A cheap look at many classes: which of a thousand are worth a search?"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from phosphene.backdoor.families import FAMILIES
from phosphene.backdoor.measure import Watch
from phosphene.backdoor.search import Effort, Samples, smallest
from phosphene.engine import Engine

FEW = 64  # so many classes are searched without a look first
ROUNDS = ((0, 6), (128, 12), (32, 24))  # classes that are left, and steps
KEPT, USUAL = 12, 24
"""Classes that stand out and are searched, and others, drawn at random, that show what is usual."""
BATCH, SIZE = 4, 0.25


def screen(engine: Engine, samples: Samples, *, seed: int = 0, watch: "Watch | None" = None) -> tuple[Tensor, int]:
    """Return the classes (k,) to search, and the images that this has sent through the network.

    Successive halving (Jamieson and Talwalkar, AISTATS 2016): every class gets a few steps of the sparse search at a
    fixed, small size; those whose pattern has come furthest get more. Then others are drawn at random.
    """
    left = torch.arange(engine.classifier.num_classes, device=engine.device)
    effort, spent = Effort(batch=BATCH, success=2.0, shrink=(0.0, 0.0), size=SIZE), 0
    for most, steps in ROUNDS:
        left = left[: most or None]
        tell = _teller(f"look at {len(left)} classes", steps, watch)
        own = dataclasses.replace(effort, steps=steps)
        one = smallest(engine, FAMILIES["sparse"], samples, left, own, seed=seed, watch=tell)
        left = left[one.loss.argsort()]
        spent += 2 * steps * BATCH * len(one.loss)
    kept = left[:KEPT]
    draw = torch.randperm(engine.classifier.num_classes, generator=torch.Generator().manual_seed(seed)).to(kept.device)
    usual = draw[~torch.isin(draw, kept)][:USUAL]
    return torch.cat([kept, usual]), spent


def _teller(what: str, steps: int, watch: "Watch | None") -> "Callable[[int], None] | None":
    return None if watch is None else lambda step: watch(what, step, steps)
