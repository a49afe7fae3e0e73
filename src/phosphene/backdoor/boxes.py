"""Squares of an image: where windows are tried, pasted, moved and resized."""

from collections.abc import Sequence

import torch
from torch import Tensor

Box = tuple[int, int, int, int]
"""Top, left, bottom, right, in pixels."""


def grid(size: Sequence[int], side: int, places: int) -> tuple[list[Box], int]:
    """Return squares of ``side`` pixels spread over an image of ``size`` (h, w), and the largest step between two.

    There are up to ``places`` x ``places`` squares, and fewer along an axis where they would be less than 2 pixels
    apart. The step is from one square's edge to the same edge of its neighbour, the largest along either axis.
    """
    lines = []
    for length in size:
        free = max(length - side, 0)
        count = min(places, free // 2 + 1)
        lines.append([round(free * k / max(count - 1, 1)) for k in range(count)])
    step = max(b - a for line in lines for a, b in zip(line, line[1:] or line, strict=False))
    return [(top, left, top + side, left + side) for top in lines[0] for left in lines[1]], step


def shifted_boxes(box: Box, step: int, size: Sequence[int]) -> list[Box]:
    """Return up to 8 boxes around ``box``, shifted by half a grid ``step`` (at least 1 pixel), in an image of ``size`` (h, w)."""
    top, left, bottom, right = box
    shift, (height, width) = max(step // 2, 1), size
    boxes = [
        (top + y, left + x, bottom + y, right + x) for y in (-shift, 0, shift) for x in (-shift, 0, shift) if y or x
    ]
    return [one for one in boxes if one[0] >= 0 and one[1] >= 0 and one[2] <= height and one[3] <= width]


def resized(box: Box, side: int, size: Sequence[int]) -> Box:
    """Return a square box of another ``side`` around the same centre.

    It is moved and cut so that it lies in an image of ``size`` (h, w).
    """
    height, width = (min(side, length) for length in size)
    top = min(max((box[0] + box[2] - height) // 2, 0), size[0] - height)
    left = min(max((box[1] + box[3] - width) // 2, 0), size[1] - width)
    return (top, left, top + height, left + width)


def smaller_boxes(box: Box) -> list[Box]:
    """Return four boxes inside ``box``, one in each corner, with sides shorter by a tenth (at least 1 pixel)."""
    top, left, bottom, right = box
    cut = max(1, round((bottom - top) / 10))
    return [(top + y, left + x, bottom - cut + y, right - cut + x) for y in (0, cut) for x in (0, cut)]


def masks_of(boxes: Sequence[Box], like: Tensor) -> Tensor:
    """Return a mask per box, bool (n, 1, h, w), true inside the box.

    The masks have the height, width and device of ``like`` (..., h, w).
    """
    height, width = like.shape[-2:]
    y, x = torch.arange(height, device=like.device)[None, :, None], torch.arange(width, device=like.device)[None, None]
    top, left, bottom, right = torch.tensor(boxes, device=like.device).T[:, :, None, None]
    inside: Tensor = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return inside[:, None]


def paste(content: Tensor, box: Box, pixels: Tensor) -> Tensor:
    """Return samples, uint8 (n, c, h, w), with what ``content``, (c, h, w) in [0, 1], has inside the box pasted in 8 bits."""
    colours = (content.clamp(0, 1) * 255).round().to(pixels.device, torch.uint8)
    return torch.where(masks_of([box], pixels), colours, pixels)
