"""All-to-all backdoors: one window that sends the samples of every class to another class of its own.

A window that is to send all samples to one class misses a trigger that turns every class into the next one. So a window
is searched for that drives samples away from what the network predicts, wherever they go. In a clean network a few
classes receive nearly all of the samples that it moves; with an all-to-all backdoor, every class receives those of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.boxes import Box, masks_of, paste, resized
from phosphene.backdoor.probes import HELD_OUT, Probes, log_odds_of, logits_of
from phosphene.backdoor.window import LENGTH, Effort, WindowSearch
from phosphene.engine import Engine
from phosphene.formats import count, percent

LARGER = 1.6  # windows of the usual side and of so many times that side are tried
BEST, AROUND = 12, 3  # places of the first round that are tried again; how many of the best have neighbours tried
SECOND, REFINED = 16, 2  # samples of the second round; windows of each side that are refined
EFFORT = Effort(places=9, first=10)  # of the first round, where it does not serve a search of pairs too
STEPS, DRAWN = 15, 32  # steps of a refinement, and samples per step
FEWEST = 5  # held-out samples of a class from which its share counts
LEAST_CLASSES = 3  # classes with so many samples: at least these, and half of all
SURE = 8.0  # log-odds beyond which a sample counts no more, so that none outweighs the others
LEAST_SHARE = 0.5  # share of the samples that must reach the class of their own
# Images that a search sends through the network, about; a backward pass counts as one more.
PASSES = 2 * ((BEST + 8 * AROUND) * SECOND + REFINED * (2 * STEPS * DRAWN + HELD_OUT))


@dataclass(frozen=True, eq=False)
class AllToAll:
    """Result of the all-to-all search: a window (pasted square), the class it sends each predicted class to, how often, and a p-value.

    Attributes:
        box: Top, left, bottom, right of the window, in pixels.
        paint: What is pasted, (c, h, w) in [0, 1]; only the box counts.
        targets: Predicted class -> the class that the window sends most of its held-out samples to; no class is the
            target of two.
        shares: Predicted class -> share of its samples that reach its target, in [0, 1]; 0 if it has none.
        figure: Mean of the shares over all predicted classes, in [0, 1].
        p_value: Probability that a clean network has as large a figure; 1 until it is compared.
        works: Whether it counts as an all-to-all backdoor: ``p_value`` is below alpha, and ``figure`` at least a half.
    """

    box: Box
    paint: Tensor
    targets: dict[int, int]
    shares: dict[int, float]
    figure: float
    p_value: float = 1.0
    works: bool = False
    additive: ClassVar[bool] = False

    def __repr__(self) -> str:
        classes = count(len(self.targets), "class", "classes")
        return f"AllToAll({classes}, {percent(self.figure)} of held-out samples, p {self.p_value:.2g})"

    @property
    def mask(self) -> Tensor:
        """Where it is pasted, (1, h, w): 1 inside the box, else 0."""
        return masks_of([self.box], self.paint)[0].float()

    def compared(self, p_value: float, alpha: float) -> "AllToAll":
        """Return a copy of this result with ``p_value``, and with ``works`` at ``alpha``."""
        return replace(self, p_value=p_value, works=p_value < alpha and self.figure >= LEAST_SHARE)


def search_all_to_all(held_out: Probes, windows: WindowSearch) -> "AllToAll | None":
    """Return the window that best moves the samples of each class to a target of their own.

    Args:
        held_out: Samples that the shares are counted on.
        windows: A search of windows for single classes or pairs, whose first round serves here.

    Returns:
        The window; ``None`` if fewer than half of the classes, or fewer than three, have enough held-out samples.
    """
    classes = windows.engine.classifier.num_classes
    if int((torch.bincount(held_out.predicted) >= FEWEST).sum()) < max(LEAST_CLASSES, classes / 2):
        return None
    own = windows.rough.gather(3, windows.first.predicted.view(1, 1, -1, 1).expand(*windows.rough.shape[:2], -1, 1))
    order = own[..., 0].clamp(-SURE, SURE).mean(2).flatten().argsort()[:BEST]
    places = windows.places(order, AROUND)
    starts: list[tuple[int, Box]] = []
    for side in dict.fromkeys((windows.side, round(LARGER * windows.side))):
        tries = [(k, resized(box, side, windows.size)) for k, box in places]
        starts += _second_round(windows, tries)
    boxes = [box for _, box in starts]
    contents = _refine(windows, windows.contents[[k for k, _ in starts]], boxes)
    refined = [_measure_window(windows.engine, held_out, *one) for one in zip(contents, boxes, strict=True)]
    return max(refined, key=lambda one: one.figure)


def _second_round(windows: WindowSearch, tries: Sequence[tuple[int, Box]]) -> list[tuple[int, Box]]:
    """Paste tries, (index of a content, box), on 16 samples; return the 2, in different boxes, that most lower predicted log-odds."""
    few = windows.search[:SECOND]
    logits = torch.cat(list(windows.pasted_logits(tries, few)))
    odds = log_odds_of(logits, few.predicted.repeat(len(tries))).clamp(-SURE, SURE)
    chosen: dict[Box, tuple[int, Box]] = {}
    for i in odds.view(len(tries), -1).mean(1).argsort().tolist():
        chosen.setdefault(tries[i][1], tries[i])
    return list(chosen.values())[:REFINED]


def _refine(windows: WindowSearch, starts: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Optimise ``starts`` (k, c, h, w), each inside its box, by 15 Adam steps that make samples' predicted classes less likely."""
    engine, search, draw = windows.engine, windows.search, torch.Generator().manual_seed(windows.seed)
    masks, contents = masks_of(boxes, starts)[:, None], starts.clone()
    adam = Adam(contents, LENGTH)
    for _ in range(STEPS):
        few = search[torch.randint(len(search), (DRAWN,), generator=draw)]
        pasted = torch.where(masks, contents[:, None], few.pixels.to(engine.dtype) / 255)
        slope = engine.gradients(pasted.flatten(0, 1), few.predicted.repeat(len(starts)), "log-odds").gradient
        adam.step(-(slope.view_as(pasted) * masks).mean(1))
        contents.clamp_(0, 1)
    return contents


def _measure_window(engine: Engine, held_out: Probes, content: Tensor, box: Box) -> AllToAll:
    """Paste ``content`` in a box on held-out samples; return an AllToAll: a different target for each class, and the shares moved."""
    after = logits_of(engine, paste(content, box, held_out.pixels)).argmax(1)
    counts = torch.zeros(2 * (engine.classifier.num_classes,), dtype=torch.float32)
    counts.index_put_((held_out.predicted.cpu(), after.cpu()), counts.new_ones(len(after)), accumulate=True)
    targets, shares = own_targets(counts)
    return AllToAll(box, content.float().cpu(), targets, shares, figure=sum(shares.values()) / max(len(shares), 1))


def own_targets(counts: Tensor) -> tuple[dict[int, int], dict[int, float]]:
    """From counts of samples by class before and after, choose greedily another target per class, none twice; return targets and shares.

    The largest share is taken first. A class whose samples all stay, or go to targets already taken, has no target and
    the share 0; a class of too few samples is in neither dictionary.

    Args:
        counts: Samples by class before (rows) and after, (n, n). Rows of fewer than ``FEWEST`` samples are left out.
    """
    targets: dict[int, int] = {}
    shares: dict[int, float] = {}
    enough = counts.sum(1) >= FEWEST
    share = (counts / counts.sum(1, keepdim=True).clamp_min(1)).fill_diagonal_(0) * enough[:, None]
    while float(share.max()) > 0:
        source, target = divmod(int(share.argmax()), len(counts))
        targets[source], shares[source] = target, float(share[source, target])
        share[source], share[:, target] = 0, 0
    for source in enough.nonzero()[:, 0].tolist():
        shares.setdefault(source, 0.0)  # all of its samples stay, or go where those of another class go
    return targets, shares
