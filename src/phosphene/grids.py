"""Where in the picture an activation lies: maps of convolutions, and tokens of transformers laid out as a grid."""

import math

from torch import Tensor

# Tokens that stand before the patches, at most: class, distillation, registers.
MOST_EXTRA = 9


def as_grid(answer: Tensor, size: tuple[int, int]) -> "Tensor | None":
    """Lay an activation out as (n, c, h, w), h and w not both 1; ``None`` if it has no place in the picture.

    Args:
        answer: Feature maps (n, c, h, w), the same channels last (n, h, w, c), or tokens (n, t, c) with t = h w, and
            before them up to 9 that belong to no patch.
        size: Height and width of the network's input: a grid has its proportions.

    Example:
        >>> import torch
        >>> as_grid(torch.zeros(2, 1 + 14 * 14, 768), (224, 224)).shape
        torch.Size([2, 768, 14, 14])
    """
    if answer.ndim == 4:
        _, first, second, third = answer.shape
        if second * third == 1 or first * second == 1:
            return None
        last = _distortion(first, second, size) < math.log(1.5) and _distortion(second, third, size) > math.log(2)
        return answer.permute(0, 3, 1, 2) if last else answer
    if answer.ndim == 3 and answer.shape[2] > 1:  # pooled features (n, c, 1) are no tokens
        grid = _grid(answer.shape[1], size)
        if grid is not None:
            height, width = grid
            patches = answer[:, -height * width :]
            return patches.transpose(1, 2).reshape(len(answer), -1, height, width)
    return None


def _distortion(height: int, width: int, size: tuple[int, int]) -> float:
    """How far the proportions of a grid are from those of the picture; 0 if they agree."""
    return abs(math.log((height / width) / (size[0] / size[1])))


def _grid(tokens: int, size: tuple[int, int]) -> "tuple[int, int] | None":
    """Return height and width of a grid of the picture's proportions that leaves fewest of ``tokens`` over."""
    ratio = size[0] / size[1]
    for patches in range(tokens, max(3, tokens - MOST_EXTRA - 1), -1):
        about = round(math.sqrt(patches * ratio))
        for height in (about, about - 1, about + 1):
            if height > 0 and patches % height == 0 and abs(height - patches // height * ratio) < 1:
                return height, patches // height
    return None
