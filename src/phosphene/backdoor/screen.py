"""Which of many classes to measure: those that marks drawn at random and a few steps of the margin single out.

A network that was trained to send any image to a class responds a little to other marks as well, and can be driven to
that class sooner. So marks drawn at random are pasted on samples and each class's log-odds are followed: one forward
pass shows all classes at once. Beside that, every class's margin is maximised for a few steps.
"""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.backdoor.margin import maximise_margins
from phosphene.backdoor.probes import Probes, logits_of
from phosphene.engine import Engine

BY_MARKS, BY_MARGIN, OTHERS = 8, 4, 8  # classes that are tested, by either; and others, that set the median
MARKS, ON = 400, 4  # marks, and samples that each is pasted on
STEPS, LENGTH = 6, 0.1  # steps of the margins, and their length in [0, 1]
SIDES = (1 / 9, 1 / 3)  # smallest and largest side of a mark, relative to the image's
CELLS, ROUGH = 4, 4  # colours per side, at most, and points per side that a mark's outline is drawn through


def choose_classes(engine: Engine, search: Probes, *, seed: int = 0) -> tuple[list[int], int]:
    """Return 20 of many classes, and how many to test (12): first 8 by random marks and 4 by margins, then 8 random ones to compare."""
    every = torch.arange(engine.classifier.num_classes, device=engine.device)
    margin = maximise_margins(engine, every, steps=STEPS, starts=1, length=LENGTH, seed=seed).margin.cpu()
    first = mean_logit_rises(engine, search, seed=seed).argsort(descending=True, stable=True)[:BY_MARKS].tolist()
    second = [one for one in margin.argsort(descending=True, stable=True).tolist() if one not in first][:BY_MARGIN]
    draw = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed)).tolist()
    tested = [*first, *second]
    return [*tested, *[one for one in draw if one not in tested][:OTHERS]], len(tested)


def screen_passes(classes: int) -> int:
    """Return how many images :func:`choose_classes` sends through a network of ``classes`` classes, a backward pass as one more."""
    return MARKS * ON + 2 * STEPS * classes


def mean_logit_rises(engine: Engine, search: Probes, *, seed: int = 0) -> Tensor:
    """Return how much pasted random marks raise each class's logit over the median class's rise, averaged over 400 marks, (classes,)."""
    draw = torch.Generator().manual_seed(seed)
    plain = logits_of(engine, search.pixels)
    total = torch.zeros(plain.shape[1], dtype=torch.double)
    marks = random_marks(engine.classifier.input.shape, draw)
    tries = ((*mark, torch.randperm(len(search), generator=draw)[:ON]) for mark in marks)
    while block := list(islice(tries, max(1, engine.micro_batch // ON))):
        masks, paints, chosen = (torch.stack(column).to(engine.device) for column in zip(*block, strict=True))
        colours = (paints * 255).round().to(torch.uint8)
        pasted = torch.where(masks[:, None], colours[:, None], search.pixels[chosen])
        logits = logits_of(engine, pasted.flatten(0, 1)).view(*chosen.shape, -1)
        rises = (logits - plain[chosen]).mean(1).double().cpu()
        total += (rises - rises.median(1, keepdim=True).values).sum(0) / MARKS
    return total


def random_marks(shape: tuple[int, int, int], draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield 400 random marks, one at a time, to paste on samples: a mask, bool (1, h, w), true on the mark, and colours, (c, h, w).

    ``shape`` is that of the images, (c, h, w). A mark has a few colours, hard or blurred, within a rough outline or a square, anywhere.
    """
    channels, height, width = shape
    for _ in range(MARKS):
        share, hard, outlined, *place = torch.rand(5, generator=draw, dtype=torch.float32).tolist()
        side = max(2, round(min(height, width) * (SIDES[0] + (SIDES[1] - SIDES[0]) * share)))
        side = min(side, height, width)
        top, left = (int(spot * (length - side + 1)) for spot, length in zip(place, (height, width), strict=True))
        cells = int(torch.randint(1, CELLS + 1, (), generator=draw))
        colours = torch.rand((1, channels, cells, cells), generator=draw, dtype=torch.float32)
        outline = _enlarged(torch.rand((1, 1, ROUGH, ROUGH), generator=draw, dtype=torch.float32), side)[0]
        window = (slice(None), slice(top, top + side), slice(left, left + side))
        mask, paint = torch.zeros((1, height, width), dtype=torch.bool), torch.zeros(shape, dtype=torch.float32)
        mask[window] = outline > outline.median() if outlined < 0.7 and side > 1 else True
        paint[window] = (functional.interpolate(colours, size=side) if hard < 0.5 else _enlarged(colours, side))[0]
        yield mask, paint.clamp(0, 1)


def _enlarged(grid: Tensor, side: int) -> Tensor:
    """Return small grids of values (n, c, k, k) enlarged bicubically to (n, c, side, side): smooth outlines and colours of marks."""
    return functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
