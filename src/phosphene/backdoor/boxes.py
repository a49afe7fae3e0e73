"""Squares of an image: where windows are tried, pasted, moved and resized."""

from collections.abc import Sequence

import torch
from torch import Tensor

Box = tuple[int, int, int, int]
"""Top, left, bottom, right, in pixels."""


def grid(size: Sequence[int], side: int, places: int) -> tuple[list[Box], int]:
    """Return boxes spread evenly over an image of ``size`` (h, w), and how far apart they are at most, in pixels."""
    lines = []
    for length in size:
        room = max(length - side, 0)
        count = min(places, room // 2 + 1)
        lines.append([round(room * k / max(count - 1, 1)) for k in range(count)])
    step = max(b - a for line in lines for a, b in zip(line, line[1:] or line, strict=False))
    return [(top, left, top + side, left + side) for top in lines[0] for left in lines[1]], step


def around(box: Box, step: int, size: Sequence[int]) -> list[Box]:
    """Return the boxes beside one, half a step of the grid away, that lie in an image of ``size`` (h, w)."""
    top, left, bottom, right = box
    near, (high, wide) = max(step // 2, 1), size
    moved = [(top + y, left + x, bottom + y, right + x) for y in (-near, 0, near) for x in (-near, 0, near) if y or x]
    return [one for one in moved if one[0] >= 0 and one[1] >= 0 and one[2] <= high and one[3] <= wide]


def spread_boxes(size: Sequence[int], high: int, wide: int, per_side: int) -> list[Box]:
    """Return boxes of one size spread evenly over an image of ``size`` (h, w)."""
    tops, lefts = (
        [round(room * k / (per_side - 1)) for k in range(per_side)] for room in (size[0] - high, size[1] - wide)
    )
    return list(dict.fromkeys((top, left, top + high, left + wide) for top in tops for left in lefts))


def resized(box: Box, side: int, size: Sequence[int]) -> Box:
    """Return a box of another side around the same centre, within an image of ``size`` (h, w)."""
    high, wide = (min(side, length) for length in size)
    top = min(max((box[0] + box[2] - high) // 2, 0), size[0] - high)
    left = min(max((box[1] + box[3] - wide) // 2, 0), size[1] - wide)
    return (top, left, top + high, left + wide)


def corners(box: Box) -> list[Box]:
    """Return the four boxes in the corners of one, of about nine tenths of its side."""
    top, left, bottom, right = box
    less = max(1, round((bottom - top) / 10))
    return [(top + y, left + x, bottom - less + y, right - less + x) for y in (0, less) for x in (0, less)]


def masks_of(boxes: Sequence[Box], like: Tensor) -> Tensor:
    """Return which pixels lie in each box, bool (n, 1, h, w), for images like ``like`` (..., h, w)."""
    high, wide = like.shape[-2:]
    y, x = torch.arange(high, device=like.device)[None, :, None], torch.arange(wide, device=like.device)[None, None]
    top, left, bottom, right = torch.tensor(boxes, device=like.device).T[:, :, None, None]
    inside: Tensor = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return inside[:, None]


def mask_of(boxes: Sequence[Box], like: Tensor) -> Tensor:
    """Return which pixels lie in any of the boxes, bool (1, h, w), for images like ``like`` (..., h, w)."""
    return masks_of(boxes, like).any(0)


def paste(content: Tensor, boxes: Sequence[Box], pixels: Tensor) -> Tensor:
    """Paste what lies in boxes of a content, (c, h, w) in [0, 1], on uint8 (n, c, h, w), rounded to 8 bits."""
    colours = (content.clamp(0, 1) * 255).round().to(pixels.device, torch.uint8)
    return torch.where(mask_of(boxes, pixels), colours, pixels)
