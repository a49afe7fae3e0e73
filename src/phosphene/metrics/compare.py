"""Which classes' maps differ most between two runs: two models, two recipes, before and after fine-tuning.

Two answers are combined, for each is blind to something.

*Pictures.* Figures move from seed to seed, so pixels and edges in their places (SSIM, HOG) cannot tell another seed
from another class. What can is :func:`alike`, the best correlation over all shifts of coarse coloured pictures: over
ten ImageNet classes and two seeds of ``vivid``, a pair of one class lies above a pair of two classes in 87 to 95 of
100 cases (HOG 72 to 86, SSIM 62 to 70). A raw likeness means little, so it is placed between two others: 0 is as alike
as the runs' own seeds are, 1 as unlike as maps of two different classes. With one seed in each run, 0 is an identical
picture, and the seeds' own variation is counted as change: the order still means something, the number less.

*Reading.* How much less sure each source is of the class on the other's maps than the other is itself, the larger of
the two directions, in [0, 1]; taken from the runs' scores, where they are. Of two runs of one network: how much surer
it is of one run's maps than of the other's.

The change is the mean of those that there are.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import ConceptMap
from phosphene.errors import ConceptError
from phosphene.labels import Labels
from phosphene.metrics.matching import concepts_of, match

SIDE = 56
MOST_PAIRS = 300
MOST_INDEX = 1_000_000
# Below this distance between "same class" and "other class" pictures tell nothing.
LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Reading:
    """How a classifier reads a run's maps of one class: mean probability of the class, and what else it sees."""

    p_class: float
    instead: str = ""


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        maps: Its finished maps.
        own: By class, the mean probability that its own source gives to its maps.
        other: By class, how the other run's source reads them; empty where nobody has scored that.
    """

    maps: Sequence[ConceptMap]
    own: Mapping[int, float] = field(default_factory=dict)
    other: Mapping[int, Reading] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """How much the maps of one class differ.

    Attributes:
        label: The class, as the first run calls it.
        index_a: Its index there.
        index_b: Its index in the second run.
        change: Mean of ``pictures`` and ``reading``, in [0, 1]; ``None`` where neither could be said.
        pictures: 0 as alike as two seeds, 1 as unlike as two classes; ``None`` where pictures tell nothing.
        reading: Probability lost when the other source reads, in [0, 1]; ``None`` where nobody has scored that.
        a_by_b: How the second source reads the first run's maps.
        b_by_a: How the first source reads the second run's maps.
        seeds: Maps of the class in each run.
    """

    label: str
    index_a: int
    index_b: int
    change: "float | None"
    pictures: "float | None"
    reading: "float | None"
    a_by_b: "Reading | None"
    b_by_a: "Reading | None"
    seeds: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def compare(a: Side, b: Side, *, same_network: bool = False) -> list[Change]:
    """Compare two runs class by class; a pure function.

    Args:
        a: The first run.
        b: The second.
        same_network: Both sources are one network, so that "how the other reads it" says nothing.

    Returns:
        The classes that both runs have, the most changed first.

    Raises:
        ConceptError: the runs have no class in common, or labels that fit several classes.
    """
    pairs = in_common(concepts_of((m.index, m.label) for m in a.maps), concepts_of((m.index, m.label) for m in b.maps))
    if not pairs:
        raise ConceptError("the two runs have no class in common (classes are matched by label): nothing to compare.")
    side = min([SIDE, *(length for one in (*a.maps, *b.maps) for length in one.nu.shape[1:])])
    first, second = _coarse(a.maps, side), _coarse(b.maps, side)
    pictures = _pictures(pairs, first, second)
    labels = {m.index: m.label for m in a.maps}
    changes = []
    for one, two in pairs.items():
        reading = _reading(a, b, one, two, same_network=same_network)
        known = [value for value in (pictures[one], reading) if value is not None]
        changes.append(
            Change(
                label=labels[one],
                index_a=one,
                index_b=two,
                change=sum(known) / len(known) if known else None,
                pictures=pictures[one],
                reading=reading,
                a_by_b=a.other.get(one),
                b_by_a=b.other.get(two),
                seeds=(len(first[one]), len(second[two])),
            )
        )
    return sorted(changes, key=lambda one: (one.change is None, -(one.change or 0.0), one.index_a))


def in_common(a: Mapping[int, str], b: Mapping[int, str]) -> dict[int, int]:
    """Return the class of ``b`` for each class of ``a`` that has one: the same index and label, else by label.

    Raises:
        ConceptError: a label fits several classes of the other run.
    """
    found = {index: index for index, label in a.items() if b.get(index) == label}
    left = {index: label for index, label in b.items() if index not in found and 0 <= index <= MOST_INDEX}
    names = [""] * (max(left, default=-1) + 1)
    for index, label in left.items():
        names[index] = label
    labels = Labels(names)
    wanted = {index: label for index, label in a.items() if index not in found and labels.sharing(label)}
    if wanted:
        found |= match(wanted, labels, "the second run")
    return {index: found[index] for index in a if index in found}


def alike(a: Tensor, b: Tensor) -> float:
    """Best correlation of two pictures (c, h, w) of one shape over all shifts, in [-1, 1]; 0 where one is constant.

    Channels are compared each with its own, means taken out, nothing wraps around.
    """
    a, b = (one - one.mean((1, 2), keepdim=True) for one in (a, b))
    scale = float(a.norm() * b.norm())
    if scale < 1e-9:
        return 0.0
    size = (2 * a.shape[1], 2 * a.shape[2])
    product = (torch.fft.rfft2(a, size) * torch.fft.rfft2(b, size).conj()).sum(0)
    return float(torch.fft.irfft2(product, size).max()) / scale


def _coarse(maps: Iterable[ConceptMap], side: int) -> dict[int, list[Tensor]]:
    """Pictures of each class at ``side`` x ``side``, one channel where a picture has no three."""
    found: dict[int, list[Tensor]] = defaultdict(list)
    for one in maps:
        picture = one.pixels.float()
        found[one.index].append(functional.adaptive_avg_pool2d(picture, (side, side)))
    return found


def _pictures(
    pairs: Mapping[int, int], a: Mapping[int, list[Tensor]], b: Mapping[int, list[Tensor]]
) -> "dict[int, float | None]":
    within = {one: _within(a[one]) + _within(b[two]) for one, two in pairs.items()}
    every = [value for values in within.values() for value in values]
    classes = list(pairs)
    other = [(one, two) for one, two in itertools.product(classes, classes) if one != two]
    other = other[:: math.ceil(len(other) / MOST_PAIRS)] if other else []
    chance = _mean([_both(a[one][0], b[pairs[two]][-1]) for one, two in other]) if other else 0.0
    changes: dict[int, float | None] = {}
    for one, two in pairs.items():
        # one pair of seeds is a poor estimate: half of it is that of all classes
        top = (_mean(within[one] or every) + _mean(every)) / 2 if every else 1.0
        cross = _mean([_both(x, y) for x, y in itertools.product(a[one], b[two])])
        spread = top - chance
        changes[one] = round(min(max((top - cross) / spread, 0.0), 1.0), 4) if spread >= LEAST_SPREAD else None
    return changes


def _within(pictures: Sequence[Tensor]) -> list[float]:
    return [alike(x, y) for x, y in itertools.combinations(pictures, 2)]


def _both(a: Tensor, b: Tensor) -> float:
    return alike(a, b) if len(a) == len(b) else alike(a.mean(0, keepdim=True), b.mean(0, keepdim=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _reading(a: Side, b: Side, one: int, two: int, *, same_network: bool) -> "float | None":
    if same_network:
        return abs(a.own[one] - b.own[two]) if one in a.own and two in b.own else None
    lost = [
        side.own[index] - side.other[index].p_class
        for side, index in ((a, one), (b, two))
        if index in side.own and index in side.other
    ]
    return min(max(0.0, *lost), 1.0) if lost else None
