"""Pairs of classes: a trigger that moves samples of one class only.

A window that is to work on samples of every class misses a trigger that turns a 4 into a 7 and nothing else. So windows
are searched for every pair of a source class, the samples that the network predicts as it, and a target. In clean
networks single pairs of look-alikes can be reached as easily as planted ones: what is found is a suspicion.
"""

from collections.abc import Collection, Sequence

import torch

from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Route
from phosphene.backdoor.window import Effort, Window, WindowSearch

MIN_SAMPLES_PER_SOURCE = 8  # held-out samples of a source class from which its pairs are searched
PAIR_EFFORT = Effort(places=9, best=2, around=1, refined=1, counted=60, per_source=3)
MAX_SHOWN = 5  # single pairs that are shown, at most
MIN_EASY_SHARE = 0.9  # share from which a pair is shown as a suspicion


def easy_pairs(windows: Sequence[Window], suspects: Collection[int] = ()) -> list[Window]:
    """Return the windows of the easiest pairs, up to 5 that move 90 % of samples, and of the one after these.

    The last one shows how easy the other pairs are; it may move 90 % too, if there are more than 5. The list is empty
    if no pair moves 90 %.

    Args:
        windows: Windows of pairs, the easiest first.
        suspects: Targets that are suspects already; pairs that lead to them are left out.
    """
    others = [one for one in windows if one.route.target not in suspects]
    num_easy = sum(one.effect.share >= MIN_EASY_SHARE for one in others)
    return others[: min(num_easy, MAX_SHOWN) + 1] if num_easy else []


def search_pairs(held_out: Probes, targets: Sequence[int], windows: WindowSearch) -> "tuple[Window, ...] | None":
    """Return the best window of each pair of a source class and one of its 3 easiest targets.

    Args:
        held_out: Samples that they are counted on.
        targets: Classes that samples may be sent to.
        windows: A search of windows whose first round has a sample of every class.

    Returns:
        A window per pair, the easiest pair first; ``None`` if no source class has enough samples.
    """
    sources, counts = torch.unique(held_out.predicted, return_counts=True)
    search_classes = set(windows.search.predicted.tolist())
    sizes = dict(zip(sources.tolist(), counts.tolist(), strict=True))
    source_classes = [one for one in sizes if sizes[one] >= MIN_SAMPLES_PER_SOURCE and one in search_classes]
    routes = [Route(target, source) for source in source_classes for target in targets if source != target]
    if not routes:
        return None
    return tuple(sorted(windows.best(routes, held_out), key=lambda one: one.effect.rank, reverse=True))
