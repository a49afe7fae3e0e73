"""The window statistic: what share of all samples does the best small window, put in the best place, send to a class?

For every class a square window of about a tenth of the side (with many classes, a fifth) is searched for: first its
place with a rough content, by forward passes only; then the content, by gradient. The window is pasted in 8 bits on
samples on which it was not optimised, and the share of them that the network classifies as the class is counted. If a
trigger is local, one class has a window that sends nearly every sample, and the other classes' windows send few.

A content is a whole image, and a window is a square of it: it is pasted at the place that it is cropped from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from phosphene.backdoor.boxes import Box, grid, masks_of, paste, shifted_boxes
from phosphene.backdoor.probes import Probes, log_odds_of, log_odds_of_all
from phosphene.backdoor.routes import NO_EFFECT, Effect, Route, effects_of, raise_log_odds
from phosphene.engine import Engine

Item = TypeVar("Item")

STEPS, DRAWN, LENGTH = 15, 8, 0.1  # steps of a refinement, samples per step and route, and length of a step in [0, 1]
PLAIN = ((1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))  # colours


@dataclass(frozen=True)
class Effort:
    """How much work a search of windows (trigger patches) does: numbers of places, samples and refined windows in each round.

    Attributes:
        places: Places per side that are tried first.
        first: Samples in this first round.
        best: Places that reach the second round.
        around: How many of the best places have their neighbours tried as well.
        second: Samples in this second round.
        refined: Places whose content is refined.
        counted: Held-out samples that success is counted on.
        per_source: How many routes per source class are refined, the most promising ones; all by default.
    """

    places: int = 11
    first: int = 2
    best: int = 6
    around: int = 3
    second: int = 8
    refined: int = 2
    counted: int = 100
    per_source: "int | None" = None

    @property
    def passes(self) -> int:
        """Number of images run forward per :class:`Route` in the second round: best places and neighbours, times ``second`` samples."""
        return (self.best + 8 * self.around) * self.second

    @property
    def refined_passes(self) -> int:
        """Number of images run per :class:`Route` to refine windows and to measure them; a backward pass counts as one more."""
        return self.refined * (2 * STEPS * DRAWN + self.counted)


DEFAULT_EFFORT = Effort()


@dataclass(frozen=True, eq=False)
class Window:
    """A square to paste, as a trigger: an image, the box of it that is pasted, the samples to move, and its effect on them.

    Attributes:
        route: The samples it is to move, and the class it is to send them to.
        content: (c, h, w) in [0, 1]; what lies outside the box does not count.
        box: Where it is pasted.
        effect: Effect on held-out samples, pasted in 8 bits; :data:`NO_EFFECT` until it is counted.
    """

    route: Route
    content: Tensor
    box: Box
    effect: Effect = NO_EFFECT


def window_side(shape: tuple[int, int, int], *, many: bool = False) -> int:
    """Return the side in pixels of the windows searched on inputs of ``shape`` (c, h, w): a tenth of the shorter side, a fifth if ``many``.

    Of a clean network with ``many`` classes, hardly a window of a tenth moves any sample; one of a fifth shows larger triggers, too.
    """
    return max(1, round((0.2 if many else 0.1) * min(shape[1:])))


def window_contents(inputs: Tensor) -> Tensor:
    """Return images (k, c, h, w) to cut windows from: inputs (m, starts, c, h, w) that maximise margins, and plain colours."""
    shape = inputs.shape[2:]
    colours = PLAIN if shape[0] == 3 else ((1,) * shape[0], (0,) * shape[0])
    plain = torch.tensor(colours, dtype=inputs.dtype, device=inputs.device)[:, :, None, None].expand(-1, *shape)
    return torch.cat([inputs.flatten(0, 1), plain])


class WindowSearch:
    """Search for windows, small patches that send samples to a class when pasted; its first round, run on creation, serves all classes.

    Args:
        engine: An open engine.
        search: Samples that windows are searched on.
        contents: (k, c, h, w) in [0, 1].
        side: Side of the windows, in pixels.
        effort: How many places and samples are used.
        seed: Random seed for the samples of each step of a refinement.
    """

    def __init__(
        self,
        engine: Engine,
        search: Probes,
        contents: Tensor,
        side: int,
        effort: Effort = DEFAULT_EFFORT,
        *,
        seed: int = 0,
    ) -> None:
        self.engine, self.search, self.contents, self.side = engine, search, contents, side
        self.effort, self.seed = effort, seed
        self.multi_label = engine.classifier.multi_label
        self.first, self.size = search[: effort.first], contents.shape[2:]
        self.boxes, self.step = grid(self.size, side, effort.places)
        tries = [(k, box) for k in range(len(contents)) for box in self.boxes]
        parts = self.pasted_logits(tries, self.first)
        odds = torch.cat([log_odds_of_all(logits, multi_label=self.multi_label) for logits in parts])
        self.rough = odds.view(len(contents), len(self.boxes), len(self.first), -1)

    def pasted_logits(self, tries: Sequence[tuple[int, Box]], samples: Probes) -> Iterator[Tensor]:
        """Paste tries, each the index of a content and a box, on all samples; yield logits (tries x samples, classes) of a few at once."""
        x = samples.pixels.to(self.engine.dtype) / 255
        for part in _parts_run_at_once(self.engine, tries, len(x)):
            masks = masks_of([box for _, box in part], x)[:, None]
            pasted = torch.where(masks, self.contents[[k for k, _ in part]][:, None], x)
            yield self.engine.logits(pasted.flatten(0, 1))

    def best(self, routes: Sequence[Route], held_out: Probes, *, refined: bool = True) -> list[Window]:
        """Go on from the first round; return the best Window of each Route, with its effect on ``effort.counted`` held-out samples.

        Of each source these are the ``effort.per_source`` most promising routes; ``None`` is all. The contents are
        optimised unless ``refined`` is false.
        """
        tries: list[Window] = []
        for route in routes:
            # Mean log-odds of the route's target over the samples to move, (contents, boxes).
            scores = self.rough[:, :, route.rows(self.first), route.target].mean(2)
            order = scores.flatten().argsort(descending=True)[: self.effort.best]
            tries += [Window(route, self.contents[k], box) for k, box in self.places(order, self.effort.around)]
        windows = self._second_round(tries)
        if refined:
            windows = refine(self.engine, self.search, windows, seed=self.seed)
        return measure_windows(self.engine, held_out, windows, self.effort.counted)

    def places(self, order: Tensor, around: int) -> list[tuple[int, Box]]:
        """Return places of the first round, (index of a content, box), and then the neighbours of the first ``around``.

        ``order`` (n,) has their positions in the first two dimensions of ``rough``, flattened.
        """
        best = [(k, self.boxes[place]) for k, place in (divmod(one, len(self.boxes)) for one in order.tolist())]
        near = [(k, one) for k, box in best[:around] for one in shifted_boxes(box, self.step, self.size)]
        return best + near

    def _second_round(self, tries: Sequence[Window]) -> list[Window]:
        """Paste all ``tries`` (Windows) on routes' samples; return the ``effort.refined`` best per route, of each source's best routes.

        Best is by mean log-odds of the target. ``effort.per_source`` says how many routes of a source are kept; ``None`` is all.
        """
        each_route = dict.fromkeys(one.route for one in tries)
        count, dtype = self.effort.second, self.engine.dtype
        few = {one: self.search.pixels[one.rows(self.search)[:count]].to(dtype) / 255 for one in each_route}
        score: list[Tensor] = []
        for part in _parts_run_at_once(self.engine, tries, count):
            x = torch.cat([few[one.route] for one in part])
            owner = torch.tensor([k for k, one in enumerate(part) for _ in range(len(few[one.route]))], device=x.device)
            masks = masks_of([one.box for one in part], x)
            pasted = torch.where(masks[owner], torch.stack([one.content for one in part])[owner], x)
            targets = torch.tensor([one.route.target for one in part], device=x.device)[owner]
            each = log_odds_of(self.engine.logits(pasted), targets, multi_label=self.multi_label)
            score.append(each.new_zeros(len(part)).index_add_(0, owner, each) / owner.bincount())
        chosen: dict[Route, dict[Box, Window]] = {}  # the most promising route first
        for k in torch.cat(score).argsort(descending=True).tolist():
            own = chosen.setdefault(tries[k].route, {})
            if len(own) < self.effort.refined:
                own.setdefault(tries[k].box, tries[k])
        promising: dict[int | None, list[Route]] = {}
        for route in chosen:
            promising.setdefault(route.source, []).append(route)
        wanted = {route for routes in promising.values() for route in routes[: self.effort.per_source]}
        order = [route for route in each_route if route in wanted]
        return [one for route in order for one in chosen[route].values()]


def refine(
    engine: Engine,
    search: Probes,
    starts: Sequence[Window],
    *,
    steps: int = STEPS,
    drawn: int = DRAWN,
    seed: int = 0,
) -> list[Window]:
    """Return copies of the Windows ``starts``, pixels in their boxes optimised by Adam so that log-odds of their target classes rise.

    Args:
        engine: An open engine.
        search: Samples.
        starts: Initial windows.
        steps: Optimiser steps.
        drawn: Samples per step and route.
        seed: Random seed for the samples of each step.
    """
    content = torch.stack([one.content for one in starts])
    masks = masks_of([one.box for one in starts], content)[:, None]
    content = raise_log_odds(
        engine,
        search,
        [one.route for one in starts],
        content,
        lambda content, x: torch.where(masks, content[:, None], x),
        bounds=(0, 1),
        length=LENGTH,
        steps=steps,
        drawn=drawn,
        seed=seed,
    )
    return [replace(one, content=mine) for one, mine in zip(starts, content, strict=True)]


def measure_windows(
    engine: Engine, probes: Probes, windows: Sequence[Window], most: "int | None" = None
) -> list[Window]:
    """Paste each window, in 8 bits, on the first ``most`` samples of its Route; return each route's best Window, its effect filled in."""
    best: dict[Route, Window] = {}
    for part in _parts_run_at_once(engine, windows, most or len(probes)):
        pasted = [paste(one.content, one.box, one.route.samples(probes, most)) for one in part]
        for one, effect in zip(part, effects_of(engine, pasted, [one.route for one in part]), strict=True):
            if one.route not in best or effect.rank > best[one.route].effect.rank:
                best[one.route] = replace(one, effect=effect)
    return list(best.values())


def _parts_run_at_once(engine: Engine, tries: Sequence[Item], samples: int) -> Iterator[Sequence[Item]]:
    """Yield ``tries``, each of which is pasted on so many ``samples``, in parts that fill four micro-batches."""
    size = max(1, 4 * engine.micro_batch // samples)
    return (tries[start : start + size] for start in range(0, len(tries), size))
