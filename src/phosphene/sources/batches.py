"""Networks that were exported for one batch size and take no other."""

import torch
from torch import Tensor, nn


class FixedBatch(nn.Module):
    """Sends any number of pictures through a network that takes exactly ``batch``: in turns, the last one filled up.

    Args:
        network: The network.
        batch: How many pictures it takes.

    Example:
        >>> FixedBatch(nn.Linear(3, 2), 4)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, batch: int) -> None:
        super().__init__()
        self.network, self.batch = network, batch

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (n, c, h, w) to answers (n, ...)."""
        turns = []
        for start in range(0, len(pixels), self.batch):
            turn = pixels[start : start + self.batch]
            short = self.batch - len(turn)
            turns.append(torch.cat([turn, turn[-1:].expand(short, *turn.shape[1:])]) if short else turn)
        return torch.cat([self.network(turn) for turn in turns])[: len(pixels)]
