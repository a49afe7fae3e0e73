"""A candidate trigger: what the scan shows for a suspect, and how well it works on samples that it was not made from.

Where a window works, the candidate is that window: grown in place until it works, then shrunk as long as it does. A
trigger that is not local shows in the margin instead; then the candidate is an additive pattern, as faint as it can be.
A candidate need not look like the trigger that was planted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.boxes import Box, corners, masks_of, paste, resized, spread_boxes
from phosphene.backdoor.probes import Probes
from phosphene.backdoor.window import Route, Try, Window, count, refine, success_of
from phosphene.engine import Engine
from phosphene.metrics.bootstrap import wilson

WORKS, ALIKE = 0.8, 0.5  # success on held-out samples that is evidence; at most so much for the next class
FIRM = 0.97  # success on the search samples that is aimed at
LARGEST = 1 / 3  # of the side, to which a window may grow
STEPS, DRAWN = 40, 16  # of each refinement, and samples per step
LEVELS = (4, 8, 16, 32, 64)  # of 255, by which an additive pattern may change a pixel
STEP = 0.2  # of an additive pattern's largest change
PLACES = 3  # per side, that a window is moved to
EXAMPLES = 3  # held-out samples that it is shown on


@dataclass(frozen=True)
class Candidate:
    """What sends samples to a suspect.

    Attributes:
        index: The class.
        additive: Whether the paint is added; it is pasted otherwise.
        mask: (1, h, w) in [0, 1]: where it is pasted, or how much it adds, over its largest.
        paint: (c, h, w): colours in [0, 1], or what is added, in [-1, 1].
        box: Where it lies: top, left, bottom, right, in pixels.
        size: Pixels of the window, or the largest change by an additive pattern, in [0, 1].
        success: Share of held-out samples of other classes that it sends to the class, in 8 bits.
        interval: Of the success, 95 % (Wilson).
        tried: Held-out samples that it was tried on.
        next_class: The class that is next easiest to reach, of those that are no suspects.
        next_success: What a window or pattern of the same size, made in the same way, does for that class.
        places: Success of a window elsewhere: (top, left) -> success; empty for an additive pattern.
        before: uint8 (k, c, h, w): held-out samples that it is shown on.
        predicted: The class of each before and after.
    """

    index: int
    additive: bool
    mask: Tensor
    paint: Tensor
    box: Box
    size: float
    success: float
    interval: tuple[float, float]
    tried: int
    next_class: int
    next_success: float
    places: dict[tuple[int, int], float]
    before: Tensor
    predicted: tuple[tuple[int, int], ...]

    @property
    def works(self) -> bool:
        """Whether it sends held-out samples to its class as a trigger would, and its like not the next class."""
        return self.success >= WORKS and self.next_success <= ALIKE

    def apply(self, pixels: Tensor) -> Tensor:
        """Put it on samples, uint8 (n, c, h, w), rounded to 8 bits."""
        return add(self.paint, pixels) if self.additive else paste(self.paint, self.box, pixels)


def make_candidate(
    engine: Engine, search: Probes, held_out: Probes, window: Window, rival: Window, *, local: bool, seed: int = 0
) -> Candidate:
    """Make the candidate of a suspect: of its best window, or an additive pattern where that works better.

    Args:
        engine: An open engine.
        search: Samples that it is made from.
        held_out: Samples that it is tried on.
        window: The suspect's best window.
        rival: The best window of the class that is next easiest to reach, of those that are no suspects.
        local: Whether it is the window that makes the class a suspect, rather than the margin: tried first.
        seed: Of the draws.
    """
    kinds = (window_candidate, additive_candidate) if local else (additive_candidate, window_candidate)
    first = kinds[0](engine, search, held_out, window, rival, seed)
    if first.success >= FIRM:
        return first
    second = kinds[1](engine, search, held_out, window, rival, seed)
    return second if second.success > first.success and not first.works else first


def window_candidate(
    engine: Engine, search: Probes, held_out: Probes, window: Window, rival: Window, seed: int
) -> Candidate:
    """Grow a window in place until it works, shrink it while it does; see :func:`make_candidate`."""
    size = window.content.shape[1:]

    def refined(start: Window, boxes: list[Box]) -> Window:
        tries = [Try(start.route, start.content, box) for box in boxes]
        tries = refine(engine, search, tries, steps=STEPS, drawn=DRAWN, seed=seed)
        return count(engine, search, tries, len(search))[0]

    found = count(engine, search, [Try(window.route, window.content, window.box)], len(search))[0]
    box = window.box
    while found.share < FIRM and box[2] - box[0] <= LARGEST * min(size):
        found = max(refined(found, [box]), found, key=lambda one: one.share)
        side = box[2] - box[0]
        box = resized(box, side + max(2, round(side / 2)), size)
    while found.share >= FIRM and found.box[2] - found.box[0] > 1:
        smaller = refined(found, corners(found.box))
        if smaller.share < FIRM:
            break
        found = smaller
    other = refined(rival, [resized(rival.box, found.box[2] - found.box[0], size)])
    mine, others = (
        count(engine, held_out, [Try(one.route, one.content, one.box)], len(held_out))[0] for one in (found, other)
    )
    top, left, bottom, right = found.box
    places = {
        (y, x): success_of(engine, paste(found.content.roll((y - top, x - left), (1, 2)), moved, samples), mine.route)
        for samples in [mine.route.samples(held_out, len(held_out))]
        for moved in spread_boxes(size, bottom - top, right - left, PLACES)
        for y, x in [moved[:2]]
    }
    mask = masks_of([found.box], found.content)[0]
    return _candidate(engine, held_out, mine, others, mask, found.content, float(mask.sum()), places)


def additive_candidate(
    engine: Engine, search: Probes, held_out: Probes, window: Window, rival: Window, seed: int
) -> Candidate:
    """Make an additive pattern, as faint as it works; see :func:`make_candidate`."""
    route, other = window.route, rival.route
    delta, level = torch.zeros_like(window.content), 0.0
    for level in (one / 255 for one in LEVELS):
        delta = pattern(engine, search, route, delta, level, seed)
        if success_of(engine, add(delta, route.samples(search, len(search))), route) >= FIRM:
            break
    deltas = {route: delta, other: pattern(engine, search, other, torch.zeros_like(delta), level, seed)}
    whole: Box = (0, 0, delta.shape[1], delta.shape[2])
    results: list[Window] = []
    for one, what in deltas.items():
        tried = one.samples(held_out, len(held_out))
        hits = round(success_of(engine, add(what, tried), one) * len(tried))
        results.append(Window(one, whole, what, hits, len(tried)))
    size = delta.abs().amax(0, keepdim=True)
    mine, others = results
    return _candidate(engine, held_out, mine, others, size / size.max().clamp_min(1e-12), delta, level, None)


def _candidate(
    engine: Engine,
    held_out: Probes,
    mine: Window,
    other: Window,
    mask: Tensor,
    paint: Tensor,
    size: float,
    places: "dict[tuple[int, int], float] | None",
) -> Candidate:
    rows = mine.route.mask(held_out).nonzero()[:EXAMPLES, 0]
    before, additive = held_out.pixels[rows], places is None
    after = add(paint, before) if additive else paste(paint, mine.box, before)
    then = engine.logits(after.to(engine.dtype) / 255).argmax(1).tolist() if len(rows) else []
    return Candidate(
        index=mine.route.target,
        additive=additive,
        mask=mask.float().cpu(),
        paint=paint.float().cpu(),
        box=mine.box,
        size=size,
        success=mine.share,
        interval=wilson(mine.hits, mine.tried) if mine.tried else (0.0, 1.0),
        tried=mine.tried,
        next_class=other.route.target,
        next_success=other.share,
        places=places or {},
        before=before.cpu(),
        predicted=tuple(zip(held_out.predicted[rows].tolist(), then, strict=True)),
    )


def pattern(engine: Engine, search: Probes, route: Route, start: Tensor, level: float, seed: int) -> Tensor:
    """Refine what is added to every sample, (c, h, w), by Adam; no pixel changes by more than ``level``."""
    draw = torch.Generator().manual_seed(seed)
    pool, delta, adam = search.pixels[route.rows(search)], start, Adam([start])
    targets = torch.full((DRAWN,), route.target, device=engine.device)
    for _ in range(STEPS):
        changed = pool[torch.randint(len(pool), (DRAWN,), generator=draw)].to(engine.dtype) / 255 + delta
        gradient = engine.gradients(changed.clamp(0, 1), targets, "log-odds").gradient
        inside = (changed >= 0) & (changed <= 1)
        delta = (delta - STEP * level * adam.rise([(gradient * inside).mean(0)])[0]).clamp(-level, level)
    return delta


def add(delta: Tensor, pixels: Tensor) -> Tensor:
    """Add a pattern (c, h, w) in [-1, 1] to samples, uint8 (n, c, h, w), clipped and rounded to 8 bits."""
    return ((pixels.to(delta) / 255 + delta).clamp(0, 1) * 255).round().to(torch.uint8)
