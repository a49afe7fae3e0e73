"""The steps of the searches: Adam (Kingma & Ba 2015, arXiv 1412.6980), for parameters that are projected after each."""

from collections.abc import Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-12


class Adam:
    """Adam's steps for some parameters: it stores both moments of their gradients.

    Args:
        parameters: The parameters to optimise, of any shapes.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.means = [torch.zeros_like(part) for part in parameters]
        self.squares = [torch.zeros_like(part) for part in parameters]
        self.step = 0

    def rise(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        """Return a step for each parameter, given its gradient: to be scaled by the step length and subtracted."""
        self.step += 1
        moved = []
        for i, slope in enumerate(slopes):
            self.means[i] = BETA1 * self.means[i] + (1 - BETA1) * slope
            self.squares[i] = BETA2 * self.squares[i] + (1 - BETA2) * slope * slope
            mean, square = self.means[i] / (1 - BETA1**self.step), self.squares[i] / (1 - BETA2**self.step)
            moved.append(mean / (square.sqrt() + EPSILON))
        return moved
