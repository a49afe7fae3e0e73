"""How loudly a network can be made to say a class: the statistic of MM-BD (Wang et al., S&P 2024, arXiv 2205.06900)."""

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.engine import Engine


def largest_margin(
    engine: Engine,
    classes: Tensor,
    shape: tuple[int, int, int],
    *,
    steps: int = 100,
    starts: int = 4,
    length: float = 0.05,
    seed: int = 0,
) -> Tensor:
    """Return, for each class, the largest margin of its logit over the next that any input reaches, (m,).

    No samples: inputs in [0, 1] start as noise and climb on their margin. A class that a trigger leads to
    can be said far louder than the others, whatever the trigger looks like.

    Args:
        engine: An open engine.
        classes: int64 (m,).
        shape: Of an input, (c, h, w).
        steps: Of the optimiser (Adam).
        starts: Inputs a class; the best counts.
        length: Of a step, in [0, 1].
        seed: Of the noise.
    """
    own = classes.repeat_interleave(starts)
    seeds = [seed * 1_000_003 + index * starts + start for index in classes.tolist() for start in range(starts)]
    x = torch.stack([torch.rand(shape, generator=torch.Generator().manual_seed(one)) for one in seeds])
    x = x.to(engine.device, engine.dtype)
    adam, best = Adam([x]), torch.full((len(own),), -torch.inf, device=engine.device, dtype=engine.dtype)
    for _ in range(steps):
        slopes = engine.gradients(x, own, "margin")
        best = torch.maximum(best, -slopes.loss)
        x = (x - length * adam.rise([slopes.gradient])[0]).clamp(0, 1)
    return best.view(-1, starts).amax(1)
