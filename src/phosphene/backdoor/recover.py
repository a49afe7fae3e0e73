"""A suspicion is not a verdict: make the pattern as an attacker would use it, and try it on samples it never saw."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.compact import box_around, pieces, visible, window_around
from phosphene.backdoor.families.family import Family
from phosphene.backdoor.search import Effort, Samples, smallest
from phosphene.engine import Engine
from phosphene.metrics.bootstrap import wilson

STARTS = 3
WORKING = 0.97  # share of the samples that the pattern which is shown must send: on others it sends fewer
LOSS = 0.1  # of success that a pattern in one place instead of several may cost
PLACES = 3  # by as many, spread over the picture


@dataclass(frozen=True)
class Recovered:
    """A pattern that was recovered for a class, and how well it works on samples that it was not made from.

    Attributes:
        index: The class.
        family: What kind of pattern.
        size: Of the smallest version that still works, in the family's unit.
        mask: (1, h, w) in [0, 1]: its opacity, or where it adds most, over its largest.
        paint: (c, h, w): what it pastes, in [0, 1], or what it adds, in [-1, 1].
        additive: Whether it is added; it is pasted otherwise.
        success: Share of held-out samples of other classes that it sends to the class, pasted in 8 bits.
        interval: Of the success, 95 % (Wilson).
        tried: Held-out samples that it was tried on.
        places: Success with the pattern moved: of a pasted one, (top, left) of its box -> success; empty otherwise.
    """

    index: int
    family: str
    size: float
    mask: Tensor
    paint: Tensor
    additive: bool
    success: float
    interval: tuple[float, float]
    tried: int
    places: dict[tuple[int, int], float]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of what can be seen of the mask, in pixels."""
        return box_around(visible(self.mask))

    def apply(self, pixels: Tensor) -> Tensor:
        """Put the pattern on uint8 pictures (n, c, h, w), as a user would: the answer is uint8 again."""
        return paste_8bit(self.mask, self.paint, pixels, additive=self.additive)


def recover(
    engine: Engine,
    family: Family,
    samples: Samples,
    held_out: Samples,
    index: int,
    effort: Effort,
    *,
    seed: int = 0,
) -> Recovered:
    """Recover the pattern that leads to a class, from several starts, and try it.

    The size is that of the smallest pattern that still works; the pattern which is kept is searched for
    with a higher demand (``WORKING``), because one that just works on the samples does not on others.

    Args:
        engine: An open engine.
        family: What kind of pattern.
        samples: What it is made from.
        held_out: What it is tried on.
        index: The class.
        effort: Of the search.
        seed: Of draws and starts.
    """
    classes = torch.full((STARTS,), index, device=engine.device)
    others = held_out.pixels[held_out.read != index]
    firmly = dataclasses.replace(effort, success=WORKING)

    def best(seed: int, window: "Tensor | None" = None) -> tuple[float, Tensor, Tensor]:
        found = smallest(engine, family, samples, classes, firmly, seed=seed, window=window)
        tries = [
            (success_of(engine, paste_8bit(mask, paint, others, additive=family.additive), index), mask, paint)
            for mask, paint in zip(*family.draw(found.pattern), strict=True)
        ]
        return tries[max(range(STARTS), key=lambda row: (round(tries[row][0], 2), -float(found.size[row])))]

    least = smallest(engine, family, samples, classes, effort, seed=seed + 1)
    success, mask, paint = best(seed + 2)
    parts = [] if family.additive else pieces(mask)
    if len(parts) > 1:  # a trigger that works anywhere is found in pieces: is one of them enough?
        alone = best(seed + 3, window_around(parts[0]))
        if alone[0] >= success - LOSS:
            success, mask, paint = alone
    places = {} if family.additive else try_places(engine, mask, paint, others, index)
    return Recovered(
        index=index,
        family=family.name,
        size=float(least.size.min()),
        mask=mask.cpu(),
        paint=paint.cpu(),
        additive=family.additive,
        success=success,
        interval=wilson(round(success * len(others)), len(others)) if len(others) else (0.0, 1.0),
        tried=len(others),
        places=places,
    )


def passes(effort: Effort) -> int:
    """Images that recovering one pattern sends through the network at most, a backward counted as one more."""
    return 3 * STARTS * effort.passes


def paste_8bit(mask: Tensor, paint: Tensor, pixels: Tensor, *, additive: bool) -> Tensor:
    """Put a pattern on uint8 pictures (n, c, h, w); the answer is rounded and clipped to uint8."""
    x = pixels.to(paint) / 255
    changed = x + paint if additive else x + mask * (paint - x)
    return (changed.clamp(0, 1) * 255).round().to(torch.uint8)


def success_of(engine: Engine, pictures: Tensor, index: int) -> float:
    """Share of uint8 pictures that the network reads as a class."""
    if not len(pictures):
        return 0.0
    said = engine.logits(pictures.to(engine.device).to(engine.dtype) / 255).argmax(1)
    return float((said == index).float().mean())


def try_places(engine: Engine, mask: Tensor, paint: Tensor, pixels: Tensor, index: int) -> dict[tuple[int, int], float]:
    """Move the visible part of a pattern over a grid of places; (top, left) -> success."""
    top, left, bottom, right = box_around(visible(mask))
    high, wide = bottom - top, right - left
    found = {}
    for row in range(PLACES):
        for column in range(PLACES):
            down = round(row * (mask.shape[1] - high) / (PLACES - 1))
            along = round(column * (mask.shape[2] - wide) / (PLACES - 1))
            moved_mask, moved_paint = torch.zeros_like(mask), torch.zeros_like(paint)
            window = (slice(None), slice(down, down + high), slice(along, along + wide))
            moved_mask[window] = mask[:, top:bottom, left:right]
            moved_paint[window] = paint[:, top:bottom, left:right]
            pasted = paste_8bit(moved_mask, moved_paint, pixels, additive=False)
            found[down, along] = success_of(engine, pasted, index)
    return found
