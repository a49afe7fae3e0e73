"""Adam, the optimiser, for the searches of a scan: torch's own imports torch's compiler first, which takes a second or more."""

import torch
from torch import Tensor

# The searches are short, and gradients may be tiny if outputs saturate.
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-12


class Adam:
    """Adam (Kingma & Ba, arXiv 1412.6980, Algorithm 1) on one tensor, in the order of operations of torch's.

    Args:
        x: What is optimised, in place.
        length: Length of a step.
    """

    def __init__(self, x: Tensor, length: float) -> None:
        self.x, self.length, self.steps = x, length, 0
        self.mean, self.square = torch.zeros_like(x), torch.zeros_like(x)

    def step(self, gradient: Tensor) -> None:
        """Take a step against ``gradient``, a tensor of the shape of ``x``."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        bias1, bias2 = 1 - BETA1**self.steps, 1 - BETA2**self.steps
        self.x.addcdiv_(self.mean, (self.square.sqrt() / bias2**0.5).add_(EPSILON), value=-self.length / bias1)
