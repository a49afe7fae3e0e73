"""A cheap look at many classes: which of a thousand are worth a search?"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.families import FAMILIES
from phosphene.backdoor.measure import Watch, teller
from phosphene.backdoor.search import Effort, Samples, smallest
from phosphene.engine import Engine

FEW = 64  # so many classes are searched without a look first
ROUNDS = ((0, 4), (64, 12))  # classes that are left, and steps
KEPT, USUAL = 8, 16
"""Classes that stand out and are searched, and others, drawn at random, that show what is usual."""
BATCH, SIZE = 4, 0.25
AT_ONCE = 64  # classes: patterns of more would only fill the memory


@dataclass(frozen=True)
class Screened:
    """What a cheap look at all classes has left.

    Attributes:
        classes: int64 (m,): those that stand out, and others, drawn at random.
        usual: Bool (m,): which were drawn at random.
        look: (classes of the network,): by how many robust deviations each came further than the middle one.
    """

    classes: Tensor
    usual: Tensor
    look: Tensor


def screen(engine: Engine, samples: Samples, *, seed: int = 0, watch: "Watch | None" = None) -> Screened:
    """Choose which of many classes to search.

    Successive halving (Jamieson and Talwalkar, AISTATS 2016): every class gets a few steps of the sparse search at a
    fixed, small size; those whose pattern has come furthest get more. Then others are drawn at random.
    """
    left = torch.arange(engine.classifier.num_classes, device=engine.device)
    effort = Effort(batch=BATCH, success=2.0, shrink=(0.0, 0.0), size=SIZE)
    look: Tensor | None = None
    for most, steps in ROUNDS:
        left = left[: most or None]
        tell = teller(f"look at {len(left)} classes", steps, watch)
        own = dataclasses.replace(effort, steps=steps)
        loss = torch.cat(
            [
                smallest(engine, FAMILIES["sparse"], samples, part, own, seed=seed, watch=tell).loss
                for part in torch.split(left, AT_ONCE)
            ]
        )
        if look is None:
            away = loss.median() - loss
            look = (away / (1.4826 * away.abs().median()).clamp_min(1e-9)).cpu().double()
        left = left[loss.argsort()]
    kept = left[:KEPT]
    draw = torch.randperm(engine.classifier.num_classes, generator=torch.Generator().manual_seed(seed)).to(kept.device)
    classes = torch.cat([kept, draw[~torch.isin(draw, kept)][:USUAL]])
    assert look is not None  # noqa: S101  (there is a first round)
    return Screened(classes.cpu(), torch.arange(len(classes)) >= len(kept), look)


def passes(classes: int) -> int:
    """Images that screening so many classes sends through the network, a backward counted as one more."""
    return sum(2 * BATCH * steps * min(most or classes, classes) for most, steps in ROUNDS)
