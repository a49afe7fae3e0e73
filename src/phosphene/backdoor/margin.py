"""How far a network can be driven to a class: the statistic of MM-BD (Wang et al., S&P 2024, arXiv 2205.06900)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.probes import targets_for
from phosphene.engine import Engine
from phosphene.engine.gradients import zero_gradient

STEPS = 60  # optimiser steps
LEAST, REACHED = 1e-3, 0.5  # margin of a class that no input reaches; share of classes that must be reached
MOST = 3.0  # largest -log10 p: a distribution fitted to a few margins says nothing about rarer ones


@dataclass(frozen=True, eq=False)
class Margins:
    """Result of :func:`maximise_margins` for m classes: several inputs per class that drive the network to it; largest logit margins.

    Attributes:
        inputs: The inputs, (m, starts, c, h, w) in [0, 1].
        margin: Largest margin of the class's logit over the next that any of its inputs reaches, (m,).
    """

    inputs: Tensor
    margin: Tensor


def maximise_margins(
    engine: Engine, classes: Tensor, *, steps: int = STEPS, starts: int = 2, length: float = 0.05, seed: int = 0
) -> Margins:
    """Optimise ``starts`` inputs per class, from noise, so that the class's logit exceeds all others; return the inputs and best margins.

    The margin of an output of a multi-label network is its own log-odds. No samples: inputs in [0, 1] start as noise and
    climb on their margin. A class that a trigger leads to has a far larger margin than the others, whatever the trigger
    looks like; if the trigger is local, the inputs contain it.

    Args:
        engine: An open engine.
        classes: int64 (m,).
        steps: Optimiser steps.
        starts: Inputs per class.
        length: Length of a step, in [0, 1].
        seed: Random seed for the noise.

    Raises:
        CardError: all gradients are 0, so that nothing can be searched.
    """
    shape = engine.classifier.input.shape
    own = classes.repeat_interleave(starts)
    targets = targets_for(engine, own)
    seeds = [seed * 1_000_003 + index * starts + start for index in classes.tolist() for start in range(starts)]
    draws = [torch.Generator().manual_seed(one) for one in seeds]
    x = torch.stack([torch.rand(shape, generator=draw, dtype=torch.float32) for draw in draws])
    x = x.to(engine.device, engine.dtype)
    adam = Adam(x, length)
    steepest = torch.zeros((), device=engine.device, dtype=engine.dtype)
    margin = torch.full((len(own),), -torch.inf, device=engine.device, dtype=engine.dtype)
    for _ in range(steps):
        found = engine.gradients(x, targets, "margin")
        margin = torch.maximum(margin, -found.loss)
        steepest = torch.maximum(steepest, found.gradient.abs().amax())
        adam.step(found.gradient)
        x.clamp_(0, 1)
    if not float(steepest):
        raise zero_gradient(engine.classifier)
    return Margins(x.view(-1, starts, *shape), margin.view(-1, starts).amax(1))


def outlyingness(margin: Tensor, others: "Tensor | None" = None) -> Tensor:
    """Return -log10 p of each class's margin, (m,) in [0, 3], by a gamma distribution fitted to margins of other classes or networks.

    The test of MM-BD: a gamma distribution is fitted, here by its moments, to the margins of all classes
    but one, and ``p = 1 - F(margin of that one)^m``. All 0 if inputs reach fewer than half of the classes, or if there
    are fewer than two to fit to: then there is nothing to compare with.

    Args:
        margin: The classes' largest margins.
        others: Margins of the classes of clean networks to fit to instead.
    """
    compared = margin if others is None else others
    if float((compared > 0).float().mean()) < REACHED or len(compared) - (others is None) < 2:
        return torch.zeros_like(margin, dtype=torch.double)
    own, compared = margin.double().clamp_min(LEAST), compared.double().clamp_min(LEAST)
    rows = compared.expand(len(own), -1)
    if others is None:  # each row without the class itself
        rows = rows[~torch.eye(len(own), dtype=torch.bool)].view(len(own), -1)
    mean, variance = rows.mean(1), rows.var(1).clamp_min(LEAST**2)
    tail = torch.special.gammaincc(mean**2 / variance, own * mean / variance)
    p_value = -torch.expm1(len(own) * torch.log1p(-tail))
    return -p_value.clamp_min(10**-MOST).log10()
