"""Activations as grids over the image: feature maps of convolutions, and tokens of transformers."""

import math

from torch import Tensor

# Tokens before those of the patches, at most: class, distillation, registers.
MAX_EXTRA_TOKENS = 9


def as_spatial_activation(output: object, size: tuple[int, int]) -> "Tensor | None":
    """Return an activation as a grid over the image, (n, c, h, w); ``None`` if it has no positions.

    Args:
        output: Feature maps (n, c, h, w), the same with channels last (n, h, w, c), or tokens (n, t, c) with t = h w,
            preceded by up to 9 that belong to no patch.
        size: Height and width of the network's input: a grid has its aspect ratio.

    Example:
        >>> import torch
        >>> as_spatial_activation(torch.zeros(2, 1 + 14 * 14, 768), (224, 224)).shape
        torch.Size([2, 768, 14, 14])
    """
    if not isinstance(output, Tensor):
        return None
    if output.ndim == 4:
        _, first, second, third = output.shape
        if second * third == 1 or first * second == 1:
            return None
        channels_last = _distortion(first, second, size) < math.log(1.5) and _distortion(
            second, third, size
        ) > math.log(2)
        return output.permute(0, 3, 1, 2) if channels_last else output
    if output.ndim == 3 and output.shape[2] > 1:  # pooled features (n, c, 1) are not tokens
        grid = _token_grid(output.shape[1], size)
        if grid is not None:
            height, width = grid
            patches = output[:, -height * width :]
            return patches.transpose(1, 2).reshape(len(output), -1, height, width)
    return None


def _distortion(height: int, width: int, size: tuple[int, int]) -> float:
    """Return how far a grid's aspect ratio is from that of an image of ``size`` (h, w), as |log of their ratio|."""
    return abs(math.log((height / width) / (size[0] / size[1])))


def _token_grid(tokens: int, size: tuple[int, int]) -> "tuple[int, int] | None":
    """Return (height, width) of the grid of a transformer's tokens; ``None`` if none fits.

    It has the image's aspect ratio and uses most of the tokens.
    """
    ratio = size[0] / size[1]
    for patches in range(tokens, max(3, tokens - MAX_EXTRA_TOKENS - 1), -1):
        estimate = round(math.sqrt(patches * ratio))
        for height in (estimate, estimate - 1, estimate + 1):
            if height > 0 and patches % height == 0 and abs(height - patches // height * ratio) < 1:
                return height, patches // height
    return None
