"""Squares of an image: where windows are tried, pasted, moved and resized."""

from collections.abc import Sequence

import torch
from torch import Tensor

Box = tuple[int, int, int, int]
"""Top, left, bottom, right, in pixels."""


def grid(size: Sequence[int], side: int, places: int) -> tuple[list[Box], int]:
    """Return up to ``places`` x ``places`` squares of ``side`` pixels, spread over an image of ``size`` (h, w), and their largest step.

    There are fewer along an axis where they would be less than 2 pixels apart. The step is from one square's edge to the
    same edge of its neighbour, the largest along either axis.
    """
    lines = []
    for length in size:
        room = max(length - side, 0)
        count = min(places, room // 2 + 1)
        lines.append([round(room * k / max(count - 1, 1)) for k in range(count)])
    step = max(b - a for line in lines for a, b in zip(line, line[1:] or line, strict=False))
    return [(top, left, top + side, left + side) for top in lines[0] for left in lines[1]], step


def shifted_boxes(box: Box, step: int, size: Sequence[int]) -> list[Box]:
    """Return the up to 8 boxes shifted from ``box`` by half a grid ``step`` (at least 1 pixel) that lie in an image of ``size`` (h, w)."""
    top, left, bottom, right = box
    near, (high, wide) = max(step // 2, 1), size
    moved = [(top + y, left + x, bottom + y, right + x) for y in (-near, 0, near) for x in (-near, 0, near) if y or x]
    return [one for one in moved if one[0] >= 0 and one[1] >= 0 and one[2] <= high and one[3] <= wide]


def spread_boxes(size: Sequence[int], high: int, wide: int, per_side: int) -> list[Box]:
    """Return up to ``per_side`` x ``per_side`` boxes of ``high`` x ``wide`` pixels, from edge to edge of an image of ``size`` (h, w)."""
    tops, lefts = (
        [round(room * k / (per_side - 1)) for k in range(per_side)] for room in (size[0] - high, size[1] - wide)
    )
    return list(dict.fromkeys((top, left, top + high, left + wide) for top in tops for left in lefts))


def resized(box: Box, side: int, size: Sequence[int]) -> Box:
    """Return a square box of another ``side`` around the same centre, moved and cut so that it lies in an image of ``size`` (h, w)."""
    high, wide = (min(side, length) for length in size)
    top = min(max((box[0] + box[2] - high) // 2, 0), size[0] - high)
    left = min(max((box[1] + box[3] - wide) // 2, 0), size[1] - wide)
    return (top, left, top + high, left + wide)


def smaller_boxes(box: Box) -> list[Box]:
    """Return four boxes inside ``box``, one in each corner, with sides shorter by a tenth (at least 1 pixel): ways to shrink a window."""
    top, left, bottom, right = box
    less = max(1, round((bottom - top) / 10))
    return [(top + y, left + x, bottom - less + y, right - less + x) for y in (0, less) for x in (0, less)]


def masks_of(boxes: Sequence[Box], like: Tensor) -> Tensor:
    """Return a mask per box, bool (n, 1, h, w), true inside the box, for images of the height, width and device of ``like`` (..., h, w)."""
    high, wide = like.shape[-2:]
    y, x = torch.arange(high, device=like.device)[None, :, None], torch.arange(wide, device=like.device)[None, None]
    top, left, bottom, right = torch.tensor(boxes, device=like.device).T[:, :, None, None]
    inside: Tensor = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return inside[:, None]


def mask_of(boxes: Sequence[Box], like: Tensor) -> Tensor:
    """Return one mask for all boxes, bool (1, h, w), true inside any of them, for images of the size and device of ``like`` (..., h, w)."""
    return masks_of(boxes, like).any(0)


def paste(content: Tensor, boxes: Sequence[Box], pixels: Tensor) -> Tensor:
    """Return samples, uint8 (n, c, h, w), with the pixels of ``content``, (c, h, w) in [0, 1], pasted in 8 bits inside all of the boxes."""
    colours = (content.clamp(0, 1) * 255).round().to(pixels.device, torch.uint8)
    return torch.where(mask_of(boxes, pixels), colours, pixels)
