"""Pairs of classes: a trigger that moves samples of one class only, or every class to another one.

A window that is to work on samples of every class misses a trigger that turns a 4 into a 7 and nothing else. So windows
are searched for every pair of a source class, the samples that the network predicts as it, and a target. In clean
networks single pairs of look-alikes can be reached as easily as planted ones; a target of its own for every source is
another matter. So a pattern of pairs has a p-value, and single pairs are shown as suspicions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Route
from phosphene.backdoor.window import Effort, Window, WindowSearch, count
from phosphene.engine import Engine

FEWEST = 8  # held-out samples of a source class from which its pairs are searched
EFFORT = Effort(places=9, best=2, around=1, refined=1, counted=60, per_source=3)
SHOWN = 5  # single pairs that are shown, at most
EASY = 0.9  # share from which a pair is shown as a suspicion
SOURCES = 3  # fewest sources in a pattern of pairs


@dataclass(frozen=True)
class Pairs:
    """The result of a search of pairs of a source class and a target.

    Attributes:
        windows: The best window of every pair that was searched, the easiest first.
        figure: How far the sources' own targets stand out, for the whole network; see :func:`all_to_all`.
        chain: Source -> its own target.
        p_value: Probability that a clean network's pairs deviate as far; 1 until they are compared.
        deviates: Whether ``p_value`` is below alpha.
    """

    windows: tuple[Window, ...]
    figure: float
    chain: dict[int, int]
    p_value: float = 1.0
    deviates: bool = False

    def compared(self, p_value: float, alpha: float) -> "Pairs":
        """Return a copy with a p-value, and whether it is below ``alpha``."""
        return replace(self, p_value=p_value, deviates=p_value < alpha)

    @property
    def pattern(self) -> bool:
        """Whether the pairs deviate, and at least half of the sources reach their own target nearly always."""
        shares = [
            one.measured.share for one in self.windows if (one.route.source, one.route.target) in self.chain.items()
        ]
        return self.deviates and sum(share >= EASY for share in shares) >= max(SOURCES, len(shares) / 2)

    def easy(self, known: Collection[int] = ()) -> list[Window]:
        """Return the pairs that are easiest to reach, as suspicions, with the next one for comparison.

        Args:
            known: Targets that are suspects already.
        """
        others = [one for one in self.windows if one.route.target not in known]
        over = sum(one.measured.share >= EASY for one in others)
        return others[: min(over, SHOWN) + 1] if over else []


def search_pairs(
    engine: Engine,
    search: Probes,
    held_out: Probes,
    targets: Sequence[int],
    contents: Tensor,
    side: int,
    *,
    seed: int = 0,
) -> "Pairs | None":
    """Find the best window of every pair of a source class and one of the targets.

    Args:
        engine: An open engine.
        search: Samples that windows are searched on.
        held_out: Samples that they are counted on.
        targets: Classes that samples may be sent to.
        contents: (k, c, h, w) in [0, 1], from which the first windows are cropped.
        side: Side of the windows, in pixels.
        seed: Random seed for the samples of each step.

    Returns:
        The result; ``None`` if no source class has enough samples.
    """
    sources, counts = torch.unique(held_out.predicted, return_counts=True)
    known = set(search.predicted.tolist())
    enough = [s for s, n in zip(sources.tolist(), counts.tolist(), strict=True) if n >= FEWEST and s in known]
    routes = [Route(target, source) for source in enough for target in targets if source != target]
    if not routes:
        return None
    # The first round sees one sample of each class: the search samples are in turn.
    effort = replace(EFFORT, first=len(known))
    found = WindowSearch(engine, search, contents, side, effort, seed=seed).best(routes)
    windows = count(engine, held_out, found, effort.counted)
    figure, chain = all_to_all(windows)
    return Pairs(tuple(sorted(windows, key=lambda one: one.measured.rank, reverse=True)), figure, chain)


def all_to_all(windows: Sequence[Window]) -> tuple[float, dict[int, int]]:
    """Return how far the sources' own targets deviate, and which they are: source -> target.

    Every source gets one target and every target one source, greedily by log-odds. The figure is the median over the
    sources of how much larger those log-odds are than those of the source's next target: half of the sources at least
    must have a target of their own. A source of which only one target was searched says nothing.
    """
    chain: dict[int, int] = {}
    rest: dict[int, list[float]] = {}
    own: dict[int, float] = {}
    for one in sorted(windows, key=lambda one: -one.measured.level):
        source, target = one.route.source, one.route.target
        assert source is not None  # noqa: S101  (a pair has one)
        if source not in chain and target not in chain.values():
            chain[source], own[source] = target, one.measured.level
        else:
            rest.setdefault(source, []).append(one.measured.level)
    excess = [own[source] - max(rest[source]) for source in chain if source in rest]
    return (float(torch.tensor(excess).median()) if len(excess) >= SOURCES else 0.0), chain
