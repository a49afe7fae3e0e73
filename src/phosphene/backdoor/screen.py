"""A cheap look at many classes: which of a thousand are worth a search?

Something that was trained to turn any picture into a class answers a little to other marks as well. So marks drawn at
random are pasted on samples, and each class's logit is watched: one forward pass asks about all classes at once.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.backdoor.measure import Watch
from phosphene.backdoor.search import Samples, answers
from phosphene.engine import Engine

KEPT, USUAL = 8, 8  # classes that rise most and are tested, and others
MARKS, BATCH = 400, 4  # marks, and samples that each is pasted on
SIDES = (1 / 9, 1 / 3)  # of a mark, over the picture's
LOOK = "look at"
CELLS, ROUGH = 4, 4  # colours a side at most, and points a side that a mark's outline is drawn through


def screen(engine: Engine, samples: Samples, *, seed: int = 0, watch: "Watch | None" = None) -> Tensor:
    """Choose which of many classes to search, int64 (m,).

    First, in this order, those whose logits rise most under marks drawn at random; then others, drawn at random, which
    show with them what is usual.
    """
    rise = rises(engine, samples, seed=seed, watch=watch)
    kept = rise.argsort(descending=True, stable=True)[:KEPT]
    draw = torch.randperm(len(rise), generator=torch.Generator().manual_seed(seed))
    return torch.cat([kept, draw[~torch.isin(draw, kept)][:USUAL]])


def rises(engine: Engine, samples: Samples, *, seed: int = 0, watch: "Watch | None" = None) -> Tensor:
    """Return how far a random mark lifts each class's logit over the middle class's, on average: (classes,).

    Args:
        engine: An open engine.
        samples: What marks are pasted on.
        seed: Of marks and draws.
        watch: Told of every mark.
    """
    draw = torch.Generator().manual_seed(seed)
    plain = answers(engine, samples.pixels)
    total = torch.zeros(plain.shape[1], dtype=torch.double)
    for done, (mask, paint) in enumerate(marks(samples.shape, draw), 1):
        chosen = torch.randperm(len(samples.pixels), generator=draw)[:BATCH].to(samples.pixels.device)
        colours = (paint * 255).round().to(engine.device, torch.uint8)
        pasted = torch.where(mask.to(engine.device), colours, samples.pixels[chosen])
        rise = (answers(engine, pasted) - plain[chosen]).mean(0).double().cpu()
        total += (rise - rise.median()) / MARKS
        if watch is not None:
            watch(f"{LOOK} {len(total)} classes", done, MARKS)
    return total


def marks(shape: tuple[int, int, int], draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw marks for pictures of ``shape`` (c, h, w): masks, bool (1, h, w), and paints (c, h, w) in [0, 1].

    A few colours, hard or blurred, within a rough outline or a square, anywhere.
    """
    channels, height, width = shape
    for _ in range(MARKS):
        share, hard, outlined, *place = torch.rand(5, generator=draw).tolist()
        side = max(2, round(min(height, width) * (SIDES[0] + (SIDES[1] - SIDES[0]) * share)))
        side = min(side, height, width)
        top, left = (int(spot * (length - side + 1)) for spot, length in zip(place, (height, width), strict=True))
        cells = int(torch.randint(1, CELLS + 1, (), generator=draw))
        colours = torch.rand((1, channels, cells, cells), generator=draw)
        outline = _grown(torch.rand((1, 1, ROUGH, ROUGH), generator=draw), side)[0]
        window = (slice(None), slice(top, top + side), slice(left, left + side))
        mask, paint = torch.zeros((1, height, width), dtype=torch.bool), torch.zeros(shape)
        mask[window] = outline > outline.median() if outlined < 0.7 and side > 1 else True
        paint[window] = (functional.interpolate(colours, size=side) if hard < 0.5 else _grown(colours, side))[0]
        yield mask, paint.clamp(0, 1)


def _grown(grid: Tensor, side: int) -> Tensor:
    return functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)


def passes() -> int:
    """Images that a look sends through the network, forward only, beside the samples themselves."""
    return MARKS * BATCH
