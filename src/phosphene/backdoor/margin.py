"""How far a network can be driven to a class: the statistic of MM-BD (Wang et al., S&P 2024, arXiv 2205.06900)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.engine import Engine

STEPS = 60  # of the optimiser (Adam)


@dataclass(frozen=True)
class Margins:
    """For m classes, the inputs that drive the network furthest, from several starts.

    Attributes:
        inputs: (m, starts, c, h, w) in [0, 1].
        margin: (m,): the largest margin of the class's logit over the next that any of them reaches.
    """

    inputs: Tensor
    margin: Tensor


def maximise_margins(
    engine: Engine, classes: Tensor, *, steps: int = STEPS, starts: int = 2, length: float = 0.05, seed: int = 0
) -> Margins:
    """Find, for each class, inputs whose margin is largest.

    No samples: inputs in [0, 1] start as noise and climb on their margin. A class that a trigger leads to has a far
    larger margin than the others, whatever the trigger looks like; where the trigger is local, the inputs hold it.

    Args:
        engine: An open engine.
        classes: int64 (m,).
        steps: Of the optimiser.
        starts: Inputs per class.
        length: Of a step, in [0, 1].
        seed: Of the noise.
    """
    shape = engine.classifier.input.shape
    own = classes.repeat_interleave(starts)
    seeds = [seed * 1_000_003 + index * starts + start for index in classes.tolist() for start in range(starts)]
    x = torch.stack([torch.rand(shape, generator=torch.Generator().manual_seed(one)) for one in seeds])
    x = x.to(engine.device, engine.dtype)
    adam, margin = Adam([x]), torch.full((len(own),), -torch.inf, device=engine.device, dtype=engine.dtype)
    for _ in range(steps):
        slopes = engine.gradients(x, own, "margin")
        margin = torch.maximum(margin, -slopes.loss)
        x = (x - length * adam.rise([slopes.gradient])[0]).clamp(0, 1)
    return Margins(x.view(-1, starts, *shape), margin.view(-1, starts).amax(1))
