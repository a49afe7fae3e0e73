"""How far a network can be driven to a class: the statistic of MM-BD (Wang et al., S&P 2024, arXiv 2205.06900)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.probes import targets_for
from phosphene.engine import Engine
from phosphene.engine.gradients import zero_gradient

MARGIN_STEPS = 60  # optimiser steps
MIN_MARGIN = 1e-3  # margin of a class that no input reaches
MIN_SHARE_REACHED = 0.5  # share of classes that inputs must reach, so that margins can be compared
MAX_OUTLYINGNESS = 3.0  # largest -log10 p: a distribution fitted to a few margins says nothing about rarer ones


@dataclass(frozen=True, eq=False)
class Margins:
    """Result of :func:`maximise_margins` for m classes: the inputs that drive the network to them, and margins.

    Attributes:
        inputs: The inputs, (m, starts, c, h, w) in [0, 1].
        margin: Largest margin of the class's logit over the next that any of its inputs reaches, (m,).
    """

    inputs: Tensor
    margin: Tensor


def maximise_margins(
    engine: Engine, classes: Tensor, *, steps: int = MARGIN_STEPS, starts: int = 2, length: float = 0.05, seed: int = 0
) -> Margins:
    """Optimise inputs, from noise, so that their class's logit exceeds all others; return the Margins.

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
    input_classes = classes.repeat_interleave(starts)
    targets = targets_for(engine, input_classes)
    seeds = [seed * 1_000_003 + index * starts + start for index in classes.tolist() for start in range(starts)]
    draws = [torch.Generator().manual_seed(one) for one in seeds]
    x = torch.stack([torch.rand(shape, generator=draw, dtype=torch.float32) for draw in draws])
    x = x.to(engine.device, engine.dtype)
    adam = Adam(x, length)
    steepest = torch.zeros((), device=engine.device, dtype=engine.dtype)
    margin = torch.full((len(input_classes),), -torch.inf, device=engine.device, dtype=engine.dtype)
    for _ in range(steps):
        gradients = engine.gradients(x, targets, "margin")
        margin = torch.maximum(margin, -gradients.loss)
        steepest = torch.maximum(steepest, gradients.gradient.abs().amax())
        adam.step(gradients.gradient)
        x.clamp_(0, 1)
    if not float(steepest):
        raise zero_gradient(engine.classifier)
    return Margins(x.view(-1, starts, *shape), margin.view(-1, starts).amax(1))


def outlyingness(margin: Tensor, others: "Tensor | None" = None) -> Tensor:
    """Return -log10 p of each class's margin, (m,) in [0, 3]: how unlikely it is among the others.

    The test of MM-BD: a gamma distribution is fitted, here by its moments, to the margins of all classes
    but one, and ``p = 1 - F(margin of that one)^m``. All 0 if inputs reach fewer than half of the classes, or if there
    are fewer than two to fit to: then there is nothing to compare with.

    Args:
        margin: The classes' largest margins.
        others: Margins of the classes of clean networks to fit to instead.
    """
    reference = margin if others is None else others
    if float((reference > 0).float().mean()) < MIN_SHARE_REACHED or len(reference) - (others is None) < 2:
        return torch.zeros_like(margin, dtype=torch.double)
    margins, reference = margin.double().clamp_min(MIN_MARGIN), reference.double().clamp_min(MIN_MARGIN)
    rows = reference.expand(len(margins), -1)
    if others is None:  # each row without the class itself
        rows = rows[~torch.eye(len(margins), dtype=torch.bool)].view(len(margins), -1)
    mean, variance = rows.mean(1), rows.var(1).clamp_min(MIN_MARGIN**2)
    tail = torch.special.gammaincc(mean**2 / variance, margins * mean / variance)
    p_value = -torch.expm1(len(margins) * torch.log1p(-tail))
    return -p_value.clamp_min(10**-MAX_OUTLYINGNESS).log10()
