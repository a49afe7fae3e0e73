"""One place instead of several: a trigger that works anywhere is found in pieces all over the picture."""

import torch
from torch import Tensor
from torch.nn import functional

VISIBLE = 0.1  # of a mask's largest opacity: what lies below is not counted as part of it
ROOM = 3  # pixels around a piece in which the pattern may grow


def pieces(mask: Tensor) -> list[Tensor]:
    """Return the connected parts of what can be seen of a mask (1, h, w): bool (h, w) each, the one with most first."""
    seen = visible(mask)
    numbers = torch.arange(1, seen.numel() + 1, dtype=mask.dtype, device=mask.device).view_as(seen) * seen
    while True:  # every pixel takes the largest number around it, until none changes
        grown = functional.max_pool2d(numbers[None, None], 3, stride=1, padding=1)[0, 0] * seen
        if torch.equal(grown, numbers):
            break
        numbers = grown
    found = [numbers == number for number in torch.unique(numbers).tolist() if number]
    return sorted(found, key=lambda piece: -float(mask[0][piece].sum()))


def window_around(piece: Tensor) -> Tensor:
    """Return the box around a piece, with room to grow: bool (h, w)."""
    top, left, bottom, right = box_around(piece)
    window = torch.zeros_like(piece)
    window[max(top - ROOM, 0) : bottom + ROOM, max(left - ROOM, 0) : right + ROOM] = True
    return window


def box_around(seen: Tensor) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of what is true, bool (h, w); of all of it where nothing is."""
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    if not len(rows):
        return (0, 0, seen.shape[0], seen.shape[1])
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def visible(mask: Tensor) -> Tensor:
    """Say which pixels of a mask (1, h, w) can be seen: bool (h, w)."""
    return mask[0] > VISIBLE * float(mask.max())
