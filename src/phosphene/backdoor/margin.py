"""How far a network can be driven to a class: the statistic of MM-BD (Wang et al., S&P 2024, arXiv 2205.06900)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from phosphene.engine import Engine

STEPS = 60  # optimiser steps
# Of torch's Adam, in all searches of the scan. They are short, and gradients may be tiny if outputs saturate.
ADAM: dict[str, Any] = {"betas": (0.9, 0.99), "eps": 1e-12}


@dataclass(frozen=True)
class Margins:
    """Result of :func:`maximise_margins` for m classes: inputs that drive the network to each class, and the largest logit margin reached.

    Attributes:
        inputs: The inputs, (m, starts, c, h, w) in [0, 1].
        margin: Largest margin of the class's logit over the next that any of its inputs reaches, (m,).
    """

    inputs: Tensor
    margin: Tensor


def maximise_margins(
    engine: Engine, classes: Tensor, *, steps: int = STEPS, starts: int = 2, length: float = 0.05, seed: int = 0
) -> Margins:
    """Optimise ``starts`` inputs per class from noise to raise its logit over all others; return them and each class's best margin, (m,).

    No samples: inputs in [0, 1] start as noise and climb on their margin. A class that a trigger leads to has a far
    larger margin than the others, whatever the trigger looks like; if the trigger is local, the inputs contain it.

    Args:
        engine: An open engine.
        classes: int64 (m,).
        steps: Optimiser steps.
        starts: Inputs per class.
        length: Length of a step, in [0, 1].
        seed: Random seed for the noise.
    """
    shape = engine.classifier.input.shape
    own = classes.repeat_interleave(starts)
    seeds = [seed * 1_000_003 + index * starts + start for index in classes.tolist() for start in range(starts)]
    x = torch.stack([torch.rand(shape, generator=torch.Generator().manual_seed(one)) for one in seeds])
    x = x.to(engine.device, engine.dtype)
    adam = torch.optim.Adam([x], lr=length, **ADAM)
    margin = torch.full((len(own),), -torch.inf, device=engine.device, dtype=engine.dtype)
    for _ in range(steps):
        found = engine.gradients(x, own, "margin")
        margin = torch.maximum(margin, -found.loss)
        x.grad = found.gradient
        adam.step()
        x.clamp_(0, 1)
    return Margins(x.view(-1, starts, *shape), margin.view(-1, starts).amax(1))
