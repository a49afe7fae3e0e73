"""Which classes' maps differ most between the runs of two networks: two models, or one before and after fine-tuning.

Two measures are combined, because each misses something.

*Images.* What a map shows moves from seed to seed, so pixels and edges in their places (SSIM, HOG) cannot tell another
seed from another class. What can is :func:`shifted_correlation`, the best correlation over all shifts of coarse colour
images: over ten ImageNet classes and two seeds of ``vivid``, a pair of one class lies above a pair of two classes in 87
to 95 of 100 cases (HOG 72 to 86, SSIM 62 to 70). The value alone means little, so it is placed between two others: 0
is as similar as the runs' own seeds are, less two standard errors, 1 as different as maps of two different classes.
With one seed of a class in either run, what another seed changes is not known there, and there is no change: only
the order means something. Samples and recipes change the images of every class: these say nothing where they differ.

*Predictions.* How much lower the other source's probability of the class is on a run's maps than that of the run's own
source, the larger of the two directions, in [0, 1], less two standard errors over the seeds; known if the runs were
scored.

The change is the mean of those that are known, if the seeds' own variation is. Of one network in two runs no class has
changed: what differs is due to seeds, samples or recipe.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, variance

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import ConceptMap
from phosphene.concepts import is_class
from phosphene.errors import ConceptError
from phosphene.labels import Labels
from phosphene.metrics.bootstrap import wilson
from phosphene.metrics.matching import match

SIDE = 56
MOST_PAIRS = 300
MOST_INDEX = 1_000_000
# With less than this between "same class" and "other class", image similarity distinguishes nothing.
LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Prediction:
    """What one run's source predicts for the other run's maps of one class.

    Attributes:
        probabilities: Probability of that class for each of the maps, in [0, 1], in the maps' order.
        instead: Label of the wrong class that it predicts most often; empty if there is none.
        count: For how many of the maps it predicts ``instead``.
        maps: Number of the maps.
        p_class: Mean probability of that class.
        interval: Wilson 95 % interval of ``count / maps``.
    """

    probabilities: tuple[float, ...]
    instead: str = ""
    count: int = 0
    maps: int = field(init=False)
    p_class: float = field(init=False)
    interval: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "maps", len(self.probabilities))
        object.__setattr__(self, "p_class", fmean(self.probabilities))
        object.__setattr__(self, "interval", wilson(self.count, self.maps))


@dataclass(frozen=True)
class ComparedRun:
    """One of two runs to :func:`compare`: its maps, and what the other run's source predicts for them.

    Attributes:
        maps: Finished maps of the run.
        other: Class -> prediction of the other run's source for those maps; empty without a score.
    """

    maps: Sequence[ConceptMap]
    other: Mapping[int, Prediction] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """How much the maps of one class differ between two runs, by images and by predictions.

    Attributes:
        label: The class, as the first run calls it.
        index_a: Index of the class in the first run.
        index_b: Index of the class in the second run.
        change: Mean of ``images`` and ``predictions``, in [0, 1]; ``None`` if neither is known, or a run has one seed only.
        images: 0 as similar as two seeds, 1 as different as two classes; ``None`` if the images distinguish nothing.
        predictions: Probability lost when the other source classifies them, beyond what seeds vary, in [0, 1]; ``None`` without a score.
        a_by_b: Prediction of the second source for the first run's maps.
        b_by_a: Prediction of the first source for the second run's maps.
        seeds: Maps of the class in each run.
        confidences: Mean probability that each run's own source gives the class for the run's maps, in [0, 1].
    """

    label: str
    index_a: int
    index_b: int
    change: "float | None"
    images: "float | None"
    predictions: "float | None"
    a_by_b: "Prediction | None"
    b_by_a: "Prediction | None"
    seeds: tuple[int, int]
    confidences: tuple[float, float]


def compare(a: ComparedRun, b: ComparedRun, *, same_network: bool = False, same_method: bool = True) -> list[Change]:
    """Compare the maps of two runs; return a :class:`Change` for each class that both have.

    Args:
        a: The first run.
        b: The second.
        same_network: Both sources are one network, of which no class has changed: all figures are ``None``.
        same_method: Both have the same samples and recipe; if not, images are not compared.

    Returns:
        The classes that both runs have, the most changed first; those without a change come last.

    Raises:
        ConceptError: the runs have no class in common, or labels that fit several classes.
    """
    pairs = in_common(*({m.index: m.concept.name_elsewhere for m in run.maps} for run in (a, b)))
    if not pairs:
        raise ConceptError("the two runs have no class in common (classes are matched by label): nothing to compare.")
    side = min([SIDE, *(length for one in (*a.maps, *b.maps) for length in one.nu.shape[1:])])
    images_a, images_b = _coarse(a.maps, side), _coarse(b.maps, side)
    comparable = same_method and not same_network
    image_changes = _image_changes(pairs, images_a, images_b) if comparable else dict.fromkeys(pairs)
    prediction_changes = {} if same_network else _prediction_changes(pairs, a, b)
    labels = {m.index: m.label for m in a.maps}
    changes, order = [], {}
    for one, two in pairs.items():
        drop, raw_drop = prediction_changes.get(one) or (None, 0.0)
        seeds = (len(images_a[one]), len(images_b[two]))
        parts = [value for value in (image_changes[one], drop) if value is not None]
        mean = fmean(parts) if parts else None
        # Where nothing is left after what seeds vary, the larger drop is first.
        order[one] = (1.0 if mean is None else -mean, -raw_drop)
        changes.append(
            Change(
                label=labels[one],
                index_a=one,
                index_b=two,
                change=mean if min(seeds) > 1 else None,
                images=image_changes[one],
                predictions=drop,
                a_by_b=a.other.get(one),
                b_by_a=b.other.get(two),
                seeds=seeds,
                confidences=(fmean(_probabilities(a, one)), fmean(_probabilities(b, two))),
            )
        )
    return sorted(changes, key=lambda one: (one.change is None, order[one.index_a], one.index_a))


def in_common(a: Mapping[int, str], b: Mapping[int, str]) -> dict[int, int]:
    """Return index in ``a`` -> index in ``b`` of each class that two runs share.

    ``a`` and ``b`` are index -> label of each run; classes are matched by label.

    Raises:
        ConceptError: a label fits several classes of the other run.
    """
    pairs = {index: index for index, label in a.items() if b.get(index) == label}
    expressions = {label: index for index, label in b.items() if not is_class(index)}
    pairs |= {index: expressions[label] for index, label in a.items() if not is_class(index) and label in expressions}
    unmatched = {index: label for index, label in b.items() if index not in pairs and 0 <= index <= MOST_INDEX}
    labels = Labels([unmatched.get(index, "") for index in range(max(unmatched, default=-1) + 1)])
    matchable = {
        index: label for index, label in a.items() if index not in pairs and is_class(index) and labels.sharing(label)
    }
    if matchable:
        pairs |= match(matchable, labels, "the second run")
    return {index: pairs[index] for index in a if index in pairs}


def shifted_correlation(a: Tensor, b: Tensor) -> float:
    """Return the best correlation of two images (c, h, w) over all shifts, in [-1, 1]; 0 if one is constant.

    Each channel is compared with its own, means are taken out, nothing wraps around.
    """
    a, b = (one - one.mean((1, 2), keepdim=True) for one in (a, b))
    scale = float(a.norm() * b.norm())
    if scale < 1e-9:
        return 0.0
    size = (2 * a.shape[1], 2 * a.shape[2])
    product = (torch.fft.rfft2(a, size) * torch.fft.rfft2(b, size).conj()).sum(0)
    return float(torch.fft.irfft2(product, size).max()) / scale


def _coarse(maps: Iterable[ConceptMap], side: int) -> dict[int, list[Tensor]]:
    """Return class index -> images of its maps, averaged down to (c, side, side) each."""
    by_class: dict[int, list[Tensor]] = defaultdict(list)
    for one in maps:
        by_class[one.index].append(functional.adaptive_avg_pool2d(one.pixels.float(), (side, side)))
    return by_class


def _image_changes(
    pairs: Mapping[int, int], a: Mapping[int, list[Tensor]], b: Mapping[int, list[Tensor]]
) -> "dict[int, float | None]":
    """Return class of ``a`` -> change of its images: 0 as between seeds, 1 as between classes.

    It is linear between the two and clipped to [0, 1]. It is ``None`` for a class whose images differ hardly less
    between seeds than from those of other classes.
    """
    seed_similarities = {
        one: [_similarity(x, y) for group in (a[one], b[two]) for x, y in itertools.combinations(group, 2)]
        for one, two in pairs.items()
    }
    all_similarities = [value for values in seed_similarities.values() for value in values]
    noise = [variance(values) for values in seed_similarities.values() if len(values) > 1]
    class_pairs = list(itertools.permutations(pairs, 2))
    class_pairs = class_pairs[:: math.ceil(len(class_pairs) / MOST_PAIRS) or 1]
    chance = fmean([_similarity(a[one][0], b[pairs[two]][-1]) for one, two in class_pairs]) if class_pairs else 0.0
    changes: dict[int, float | None] = {}
    for one, two in pairs.items():
        # One pair of seeds is a poor estimate: where it is high, half of it is that of all classes.
        class_mean = fmean(seed_similarities[one] or all_similarities) if all_similarities else 1.0
        ceiling = min(class_mean, (class_mean + fmean(all_similarities)) / 2) if all_similarities else 1.0
        cross = fmean([_similarity(x, y) for x, y in itertools.product(a[one], b[two])])
        # Two standard errors of the difference between seeds and runs; there are no more independent pairs than maps.
        inverse_count = 1 / max(len(seed_similarities[one]), 1) + 1 / min(len(a[one]), len(b[two]))
        error = 2 * math.sqrt(fmean(noise) * inverse_count) if noise else 0.0
        spread = ceiling - chance
        change = min(max((ceiling - error - cross) / spread, 0.0), 1.0) if spread >= LEAST_SPREAD else None
        changes[one] = None if change is None else round(change, 4)
    return changes


def _similarity(a: Tensor, b: Tensor) -> float:
    """Return the best shifted correlation of two images (c, h, w): of brightness if their channels differ."""
    if len(a) != len(b):
        a, b = a.mean(0, keepdim=True), b.mean(0, keepdim=True)
    return shifted_correlation(a, b)


def _prediction_changes(
    pairs: Mapping[int, int], a: ComparedRun, b: ComparedRun
) -> "dict[int, tuple[float, float] | None]":
    """Return class of ``a`` -> change of its predictions, and the same before what seeds vary is subtracted.

    It is ``None`` where predictions are unknown. Both are in [0, 1]. The first is less two standard errors over the
    class's maps. Two seeds that happen to agree say little, so that seeds vary by their variance in the class or, if it
    is larger, by its mean over all classes.
    """
    groups = {  # how much lower the other network's probability of each map is
        one: [
            [p - q for p, q in zip(_probabilities(run, index), run.other[index].probabilities, strict=True)]
            for run, index in ((a, one), (b, two))
            if index in run.other
        ]
        for one, two in pairs.items()
    }
    noise = [variance(group) for class_groups in groups.values() for group in class_groups if len(group) > 1]
    mean_variance = fmean(noise) if noise else 0.0

    def two_standard_errors(group: list[float]) -> float:
        return 2 * math.sqrt(max(variance(group) if len(group) > 1 else 0.0, mean_variance) / len(group))

    changes: dict[int, tuple[float, float] | None] = {}
    for one, class_groups in groups.items():
        drops = [(fmean(group) - two_standard_errors(group), fmean(group)) for group in class_groups]
        change, raw_drop = (min(max(0.0, *values), 1.0) for values in zip(*drops, (0.0, 0.0), strict=True))
        changes[one] = (round(change, 4), raw_drop) if drops else None
    return changes


def _probabilities(run: ComparedRun, index: int) -> list[float]:
    """Return the probability, in [0, 1], that a run's source gives to a class for each of its maps of it."""
    return [one.p_class for one in run.maps if one.index == index]
