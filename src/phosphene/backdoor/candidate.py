"""Build a candidate trigger for a suspect class: a window or an additive pattern.

It is tried on samples on which it was not optimised. If a window works, the candidate is that window: grown in place until
it works, then shrunk as long as it does. A trigger that is not local, such as one that is blended into the whole image,
shows in the margin instead; then the candidate is an additive pattern, as faint as it can be (a universal perturbation,
Moosavi-Dezfooli et al., arXiv 1610.08401). A candidate need not look like the trigger that was planted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.boxes import Box, grid, masks_of, paste, resized, smaller_boxes
from phosphene.backdoor.probes import Probes, targets_for
from phosphene.backdoor.routes import Effect, Route, effect_of, raise_log_odds
from phosphene.backdoor.window import Window, measure_windows, refine
from phosphene.engine import Engine
from phosphene.engine.targets import hits
from phosphene.formats import count, percent
from phosphene.metrics.bootstrap import wilson

MIN_SUCCESS = 0.8  # least success on held-out samples that is evidence
MAX_NEXT_SUCCESS = 0.5  # largest success of a trigger made alike for the next class
SEARCH_SUCCESS = 0.97  # success on the search samples that a candidate is built for
MAX_SIDE = 1 / 3  # largest side of a window, relative to the image's
REFINEMENT_STEPS, SAMPLES_PER_STEP = 40, 16  # steps of each refinement, and samples per step
PATTERN_LEVELS = (4, 8, 16, 32, 64)  # changes of a pixel, of 255, that an additive pattern is tried with
RELATIVE_STEP_LENGTH = 0.25  # length of a step of a pattern, relative to the largest change
PLACES_PER_SIDE = 3  # places per side that a window is moved to
MAX_EXAMPLES = 3  # held-out samples that a candidate is shown on


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trigger that the scan made for a suspect class, with its success on held-out samples of other classes.

    Attributes:
        index: Index of the suspect class.
        additive: Whether the paint is added; if not, it is pasted.
        paint: Colours in [0, 1], or changes in [-1, 1], (c, h, w).
        box: Top, left, bottom, right of the window, in pixels; of an additive pattern the whole image.
        success: Share of held-out samples of other classes that it sends to the class, in 8 bits.
        interval: 95 % interval of the success (Wilson).
        tried: Held-out samples that it was tried on.
        next_class: The class that is next easiest to reach and not a suspect.
        next_success: Success of a window or pattern of the same size, made in the same way, for that class.
        places: Success of a window elsewhere: (top, left) -> success; empty for an additive pattern.
        before: Held-out samples that it is shown on, uint8 (k, c, h, w).
        predicted: Predicted class of each of these before and after.
    """

    index: int
    additive: bool
    paint: Tensor
    box: Box
    success: float
    interval: tuple[float, float]
    tried: int
    next_class: int
    next_success: float
    places: dict[tuple[int, int], float]
    before: Tensor
    predicted: tuple[tuple[int, int], ...]

    def __repr__(self) -> str:
        kind = "added" if self.additive else "pasted"
        return f"Candidate({kind}, {percent(self.success)} of {count(self.tried, 'held-out sample')})"

    @property
    def mask(self) -> Tensor:
        """Where it is pasted, or how much it adds relative to its largest change, (1, h, w) in [0, 1]."""
        if not self.additive:
            return masks_of([self.box], self.paint)[0].float()
        change = self.paint.abs().amax(0, keepdim=True)
        return change / change.max().clamp_min(1e-12)

    @property
    def size(self) -> float:
        """Pixels of the window, or the largest change by an additive pattern, in [0, 1]."""
        return float(self.paint.abs().max() if self.additive else self.mask.sum())

    @property
    def works(self) -> bool:
        """Whether its success is at least 80 %, and that of a trigger made alike for ``next_class`` at most 50 %."""
        return works(self.success, self.next_success)

    def apply(self, pixels: Tensor) -> Tensor:
        """Return uint8 samples (n, c, h, w) with the candidate trigger on them, rounded to 8 bits."""
        return add_pattern(self.paint, pixels) if self.additive else paste(self.paint, self.box, pixels)


def works(success: float, next_success: float, *, far_below_alpha: bool = False) -> bool:
    """Return whether success is at least 0.8, and the next class's success at most 0.5; both are in [0, 1].

    The next class does not count if the p-value is far below alpha.
    """
    return success >= MIN_SUCCESS and (far_below_alpha or next_success <= MAX_NEXT_SUCCESS)


def make_candidate(
    engine: Engine, search: Probes, held_out: Probes, window: Window, rival: Window, *, local: bool, seed: int = 0
) -> Candidate:
    """Return a Candidate for a suspect: a pasted window if ``local``, else an added pattern.

    The other kind is made only if the first moves less than 97 % of held-out samples, and returned only if it moves more
    and the first does not work (:attr:`Candidate.works`).

    Args:
        engine: An open engine.
        search: Samples that it is made from.
        held_out: Samples that it is tried on.
        window: The suspect's best window.
        rival: Best window of the class that is next easiest to reach and not a suspect.
        local: Whether to try the window first: it makes the class a suspect, rather than the margin.
        seed: Random seed for the samples of each step.
    """
    makers = (window_candidate, additive_candidate) if local else (additive_candidate, window_candidate)
    first = makers[0](engine, search, held_out, window, rival, seed)
    if first.success >= SEARCH_SUCCESS:
        return first
    second = makers[1](engine, search, held_out, window, rival, seed)
    return second if second.success > first.success and not first.works else first


def window_candidate(
    engine: Engine, search: Probes, held_out: Probes, window: Window, rival: Window, seed: int
) -> Candidate:
    """Return a pasted candidate: the suspect's window, as small as it still moves 97 % of search samples.

    The window is grown until it does, to a third of the image's side at most, then shrunk as long as it still does. If
    it never does, the best of the windows tried is returned as it is. Success is counted on held-out samples.

    The arguments are those of :func:`make_candidate`.
    """
    size = window.content.shape[1:]

    def refine_at(start: Window, boxes: list[Box]) -> Window:
        """Optimise the content of ``start`` at each of ``boxes``; return the best Window on all search samples."""
        windows = [Window(start.route, start.content, box) for box in boxes]
        windows = refine(engine, search, windows, steps=REFINEMENT_STEPS, drawn=SAMPLES_PER_STEP, seed=seed)
        return measure_windows(engine, search, windows)[0]

    (best,) = measure_windows(engine, search, [window])
    box = window.box
    while best.effect.share < SEARCH_SUCCESS and box[2] - box[0] <= MAX_SIDE * min(size):
        best = max(refine_at(best, [box]), best, key=lambda one: one.effect.rank)
        side = box[2] - box[0]
        box = resized(box, side + max(2, round(side / 2)), size)
    while best.effect.share >= SEARCH_SUCCESS and best.box[2] - best.box[0] > 1:
        smaller = refine_at(best, smaller_boxes(best.box))
        if smaller.effect.share < SEARCH_SUCCESS:
            break
        best = smaller
    top, left, bottom, _ = best.box
    rival_window = refine_at(rival, [resized(rival.box, bottom - top, size)])
    effects = [measure_windows(engine, held_out, [one])[0].effect for one in (best, rival_window)]
    samples, places = best.route.samples(held_out), {}
    for place in grid(size, bottom - top, PLACES_PER_SIDE)[0]:
        content = best.content.roll((place[0] - top, place[1] - left), (1, 2))
        places[place[0], place[1]] = effect_of(engine, paste(content, place, samples), best.route).share
    return _candidate(engine, held_out, (best.route, rival.route), effects, best.content, best.box, places)


def additive_candidate(
    engine: Engine, search: Probes, held_out: Probes, window: Window, rival: Window, seed: int
) -> Candidate:
    """Return an additive candidate: the faintest pattern that sends 97 % of search samples to the suspect.

    If none does, it is the strongest one that was tried. The arguments are those of :func:`make_candidate`.
    """
    routes = (window.route, rival.route)

    def optimised(route: Route, start: Tensor, level: float) -> Tensor:
        """Return the pattern, (1, c, h, w) in [-level, level], that is optimised from ``start`` for a route."""
        return raise_log_odds(
            engine,
            search,
            [route],
            start,
            lambda pattern, x: (x + pattern[:, None]).clamp(0, 1),
            bounds=(-level, level),
            length=RELATIVE_STEP_LENGTH * level,
            steps=REFINEMENT_STEPS,
            drawn=SAMPLES_PER_STEP,
            seed=seed,
        )

    def effect(pattern: Tensor, route: Route, probes: Probes) -> Effect:
        """Return the effect of a pattern, in 8 bits, on the samples that a route is to move."""
        return effect_of(engine, add_pattern(pattern[0], route.samples(probes)), route)

    none, level = torch.zeros_like(window.content)[None], 0.0
    pattern = none
    for level in (one / 255 for one in PATTERN_LEVELS):
        pattern = optimised(routes[0], pattern, level)
        if effect(pattern, routes[0], search).share >= SEARCH_SUCCESS:
            break
    patterns = (pattern, optimised(routes[1], none, level))
    effects = [effect(one, route, held_out) for one, route in zip(patterns, routes, strict=True)]
    whole_image: Box = (0, 0, *window.content.shape[1:])
    return _candidate(engine, held_out, routes, effects, pattern[0], whole_image, None)


def add_pattern(pattern: Tensor, pixels: Tensor) -> Tensor:
    """Return uint8 samples (n, c, h, w) with a pattern, (c, h, w) in [-1, 1], added to each and clipped."""
    return ((pixels.to(pattern) / 255 + pattern).clamp(0, 1) * 255).round().to(torch.uint8)


def _predictions(engine: Engine, pixels: Tensor, target: int) -> list[int]:
    """Return the predicted class of each sample, uint8 (n, c, h, w).

    Of a multi-label network it is ``target`` if that is among those that are predicted.
    """
    logits = engine.logits(pixels.to(engine.dtype) / 255)
    targets = torch.full((len(logits),), target, device=logits.device)
    return torch.where(hits(logits, targets_for(engine, targets)), targets, logits.argmax(1)).tolist()


def _candidate(
    engine: Engine,
    held_out: Probes,
    routes: tuple[Route, Route],
    effects: Sequence[Effect],
    paint: Tensor,
    box: Box,
    places: "dict[tuple[int, int], float] | None",
) -> Candidate:
    """Return the Candidate of a trigger, given its effects on held-out samples, with three examples.

    ``routes`` and ``effects`` are the suspect's and the next class's. ``paint`` is pasted in the box; without ``places``, it
    is added to the whole sample.
    """
    (effect, next_effect), additive = effects, places is None
    rows = routes[0].mask(held_out).nonzero()[:MAX_EXAMPLES, 0]
    before = held_out.pixels[rows]
    after = add_pattern(paint, before) if additive else paste(paint, box, before)
    predicted_after = _predictions(engine, after, routes[0].target) if len(rows) else []
    return Candidate(
        index=routes[0].target,
        additive=additive,
        paint=paint.float().cpu(),
        box=box,
        success=effect.share,
        interval=wilson(effect.hits, effect.tried) if effect.tried else (0.0, 1.0),
        tried=effect.tried,
        next_class=routes[1].target,
        next_success=next_effect.share,
        places=places or {},
        before=before.cpu(),
        predicted=tuple(zip(held_out.predicted[rows].tolist(), predicted_after, strict=True)),
    )
