"""Pairs of classes: a trigger that moves samples of one class only.

A window that is to work on samples of every class misses a trigger that turns a 4 into a 7 and nothing else. So windows
are searched for every pair of a source class, the samples that the network predicts as it, and a target. In clean
networks single pairs of look-alikes can be reached as easily as planted ones: what is found is a suspicion.
"""

from collections.abc import Collection, Sequence

import torch

from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Route
from phosphene.backdoor.window import Effort, Window, WindowSearch, measure_windows

FEWEST = 8  # held-out samples of a source class from which its pairs are searched
EFFORT = Effort(places=9, best=2, around=1, refined=1, counted=60, per_source=3)
SHOWN = 5  # single pairs that are shown, at most
EASY = 0.9  # share from which a pair is shown as a suspicion


def easy_pairs(windows: Sequence[Window], known: Collection[int] = ()) -> list[Window]:
    """Return the easiest windows of pairs that move 90 % of samples, up to 5, and the one after; none to ``known`` targets; may be empty.

    The one after them shows how easy the other pairs are; it may move 90 % too, if there are more than 5.

    Args:
        windows: Windows of pairs, the easiest first.
        known: Targets that are suspects already.
    """
    others = [one for one in windows if one.route.target not in known]
    over = sum(one.measured.share >= EASY for one in others)
    return others[: min(over, SHOWN) + 1] if over else []


def search_pairs(held_out: Probes, targets: Sequence[int], windows: WindowSearch) -> "tuple[Window, ...] | None":
    """Return the best window for each source class and each of the 3 targets easiest to reach, most moved first; ``None``: few samples.

    Args:
        held_out: Samples that they are counted on.
        targets: Classes that samples may be sent to.
        windows: A search of windows whose first round has a sample of every class.

    Returns:
        A window per pair, the easiest pair first; ``None`` if no source class has enough samples.
    """
    sources, counts = torch.unique(held_out.predicted, return_counts=True)
    known = set(windows.search.predicted.tolist())
    enough = [s for s, n in zip(sources.tolist(), counts.tolist(), strict=True) if n >= FEWEST and s in known]
    routes = [Route(target, source) for source in enough for target in targets if source != target]
    if not routes:
        return None
    counted = measure_windows(windows.engine, held_out, windows.best(routes), EFFORT.counted)
    return tuple(sorted(counted, key=lambda one: one.measured.rank, reverse=True))
