"""The window statistic: what share of all samples does the best small window, put in the best place, send to a class?

For every class a square window of about a tenth of the side is searched for: first its place with a rough content, by
forward passes only; then the content, by gradient. The window is pasted in 8 bits on samples that had no part in the
search, and the share of them that the network classifies as the class is counted. Where a trigger is local, one class
has a window that sends nearly every sample, and the other classes' windows send few.

A content is a whole image, and a window is what lies of it in a square: it is pasted at the place it is cropped from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.boxes import Box, around, grid, masks_of, paste
from phosphene.backdoor.probes import Probes, log_odds_of_all
from phosphene.engine import Engine
from phosphene.engine.losses import log_odds

STEPS, LENGTH = 15, 0.1  # of the refinement
PLAIN = ((1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))  # colours


@dataclass(frozen=True)
class Effort:
    """What the search for a window may cost.

    Attributes:
        places: Per side, that are tried first.
        first: Samples of that first round.
        best: Places that reach the second round.
        around: Of those, how many have their neighbours tried as well.
        second: Samples of that second round.
        refined: Places whose content is refined.
        drawn: Samples of each step of that.
        counted: Held-out samples.
        per_source: Routes of each source class that are refined, the most promising; all by default.
    """

    places: int = 11
    first: int = 2
    best: int = 6
    around: int = 3
    second: int = 8
    refined: int = 2
    drawn: int = 8
    counted: int = 100
    per_source: "int | None" = None

    @property
    def passes(self) -> int:
        """Images that one route sends through the network in the second round, a backward pass as one more."""
        return (self.best + 8 * self.around) * self.second

    @property
    def refined_passes(self) -> int:
        """The same of one route that is refined and counted."""
        return self.refined * (2 * STEPS * self.drawn + self.counted)


USUAL = Effort()


@dataclass(frozen=True)
class Route:
    """What a window is to do: send samples to a class.

    Attributes:
        target: The class.
        source: The class that the samples are predicted as; all but the target by default.
    """

    target: int
    source: "int | None" = None

    def samples(self, probes: Probes, count: int) -> Tensor:
        """Return the first ``count`` samples of this route, uint8 (n, c, h, w)."""
        return probes.pixels[self.mask(probes).nonzero()[:count, 0]]

    def rows(self, probes: Probes) -> Tensor:
        """Return which samples to search on, int64 (n,): of this route, or all where the network predicts no other."""
        own = self.mask(probes).nonzero()[:, 0]
        return own if len(own) else torch.arange(len(probes), device=own.device)

    def mask(self, probes: Probes) -> Tensor:
        """Say which samples are of this route, bool (n,)."""
        return probes.predicted != self.target if self.source is None else probes.predicted == self.source


@dataclass(frozen=True)
class Window:
    """A window, and the share of samples that it sends along its route.

    Attributes:
        route: What it is to do.
        box: Where it lies.
        content: (c, h, w) in [0, 1]; what lies outside the box does not count.
        hits: Held-out samples that the network classifies as the target, with the window pasted in 8 bits.
        tried: How many were tried.
    """

    route: Route
    box: Box
    content: Tensor
    hits: int
    tried: int

    @property
    def share(self) -> float:
        """Of the held-out samples, in [0, 1]."""
        return self.hits / max(self.tried, 1)

    @property
    def log_odds(self) -> float:
        """Of the share, with half a sample added on either side."""
        return float(torch.tensor((self.hits + 0.5) / (self.tried - self.hits + 0.5)).log())


@dataclass(frozen=True)
class Try:
    """A content at a place, for a route."""

    route: Route
    content: Tensor
    box: Box


def usual_side(shape: tuple[int, int, int]) -> int:
    """Return the side of a window for inputs of ``shape`` (c, h, w): about a tenth, 3 of 32 pixels."""
    return max(1, round(0.1 * min(shape[1:])))


def contents_of(inputs: Tensor) -> Tensor:
    """Return the contents that are tried: inputs (m, starts, c, h, w) that maximise margins, and plain colours."""
    shape = inputs.shape[2:]
    colours = PLAIN if shape[0] == 3 else ((1,) * shape[0], (0,) * shape[0])
    plain = torch.tensor(colours, dtype=inputs.dtype, device=inputs.device)[:, :, None, None].expand(-1, *shape)
    return torch.cat([inputs.flatten(0, 1), plain])


def find_windows(
    engine: Engine,
    search: Probes,
    held_out: Probes,
    routes: Sequence[Route],
    contents: Tensor,
    side: int,
    effort: Effort = USUAL,
    *,
    seed: int = 0,
) -> list[Window]:
    """Find the best window of every route, all in one stream of work.

    Args:
        engine: An open engine.
        search: Samples that windows are searched on.
        held_out: Samples that they are counted on.
        routes: What the windows are to do.
        contents: (k, c, h, w) in [0, 1].
        side: Of the windows, in pixels.
        effort: What it may cost.
        seed: Of the samples that each step of the refinement draws.
    """
    boxes, step = grid(contents.shape[2:], side, effort.places)
    first = search[: effort.first]
    rough = first_round(engine, first, contents, boxes)  # (k, boxes, samples, classes)
    tries: list[Try] = []
    for route in routes:
        own = rough[:, :, route.rows(first), route.target].mean(2)
        best = [divmod(one, len(boxes)) for one in own.flatten().argsort(descending=True)[: effort.best].tolist()]
        near = [
            (k, box) for k, place in best[: effort.around] for box in around(boxes[place], step, contents.shape[2:])
        ]
        tries += [Try(route, contents[k], box) for k, box in [*((k, boxes[place]) for k, place in best), *near]]
    starts = second_round(engine, search, tries, effort)
    return count(engine, held_out, refine(engine, search, starts, drawn=effort.drawn, seed=seed), effort.counted)


def first_round(engine: Engine, samples: Probes, contents: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Paste every content at every place on every sample; the log-odds of all classes, (k, boxes, samples, classes)."""
    x = samples.pixels.to(engine.dtype) / 255
    masks = masks_of(boxes, x)[:, None]
    at_once = max(1, 4 * engine.micro_batch // len(x))
    found = []
    for content in contents:
        parts = [
            log_odds_of_all(engine.logits(torch.where(part, content, x).flatten(0, 1)))
            for part in torch.split(masks, at_once)
        ]
        found.append(torch.cat(parts).view(len(boxes), len(x), -1))
    return torch.stack(found)


def second_round(engine: Engine, search: Probes, tries: Sequence[Try], effort: Effort) -> list[Try]:
    """Paste each try on a few samples of its route; return those to refine: of each route, the best places."""
    each_route = dict.fromkeys(one.route for one in tries)
    few = {one: search.pixels[one.rows(search)[: effort.second]].to(engine.dtype) / 255 for one in each_route}
    score: list[Tensor] = []
    for part in (tries[k : k + engine.micro_batch] for k in range(0, len(tries), engine.micro_batch)):
        pasted = [torch.where(masks_of([one.box], one.content)[0], one.content, few[one.route]) for one in part]
        lengths = [len(one) for one in pasted]
        targets = [one.route.target for one, length in zip(part, lengths, strict=True) for _ in range(length)]
        each = -log_odds(engine.logits(torch.cat(pasted)), torch.tensor(targets, device=engine.device))
        score += [one.mean() for one in torch.split(each, lengths)]
    chosen: dict[Route, dict[Box, Try]] = {}
    promising: dict[int | None, list[Route]] = {}
    for k in torch.stack(score).argsort(descending=True).tolist():
        own, of_source = chosen.setdefault(tries[k].route, {}), promising.setdefault(tries[k].route.source, [])
        if len(own) < effort.refined:
            own.setdefault(tries[k].box, tries[k])
        if tries[k].route not in of_source:
            of_source.append(tries[k].route)
    wanted = {route for routes in promising.values() for route in routes[: effort.per_source]}
    order = [route for route in each_route if route in wanted]
    return [one for route in order for one in chosen[route].values()]


def refine(
    engine: Engine, search: Probes, starts: Sequence[Try], *, steps: int = STEPS, drawn: int = 8, seed: int = 0
) -> list[Try]:
    """Raise the log-odds of each try's target by gradient: Adam on what lies in the box.

    Args:
        engine: An open engine.
        search: Samples.
        starts: What to begin with.
        steps: Of the optimiser.
        drawn: Samples per step, of each route.
        seed: Of their draws.
    """
    draw = torch.Generator().manual_seed(seed)
    content = torch.stack([one.content for one in starts])
    masks = masks_of([one.box for one in starts], content)
    rows = {route: route.rows(search) for route in dict.fromkeys(one.route for one in starts)}
    targets = torch.tensor([one.route.target for one in starts], device=engine.device)
    adam = Adam([content])
    for _ in range(steps):
        chosen = {route: own[torch.randint(len(own), (drawn,), generator=draw)] for route, own in rows.items()}
        x = search.pixels[torch.stack([chosen[one.route] for one in starts])].to(engine.dtype) / 255
        pasted = torch.where(masks[:, None], content[:, None], x)
        slopes = engine.gradients(pasted.flatten(0, 1), targets.repeat_interleave(drawn), "log-odds")
        gradient = slopes.gradient.view_as(pasted).mean(1) * masks
        content = (content - LENGTH * adam.rise([gradient])[0]).clamp(0, 1)
    return [Try(one.route, mine, one.box) for one, mine in zip(starts, content, strict=True)]


def count(engine: Engine, held_out: Probes, tries: Sequence[Try], most: int) -> list[Window]:
    """Count how many held-out samples each try sends along its route, pasted in 8 bits; the best of each route."""
    best: dict[Route, Window] = {}
    for one in tries:
        x = one.route.samples(held_out, most)
        hits = round(success_of(engine, paste(one.content, one.box, x), one.route) * len(x))
        found = Window(one.route, one.box, one.content, hits, len(x))
        if one.route not in best or found.share > best[one.route].share:
            best[one.route] = found
    return [best[route] for route in dict.fromkeys(one.route for one in tries)]


def success_of(engine: Engine, pixels: Tensor, route: Route) -> float:
    """Return the share of uint8 samples (n, c, h, w) that the network classifies as a route's target; 0 of none."""
    if not len(pixels):
        return 0.0
    predicted = engine.logits(pixels.to(engine.device).to(engine.dtype) / 255).argmax(1)
    return float((predicted == route.target).double().mean())
