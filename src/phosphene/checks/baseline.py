"""What similarities are compared with: those of maps of different classes, and of one class from two seeds."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from phosphene.concept_map import ConceptMap, render
from phosphene.metrics.predictions import SCORE_CONTRAST
from phosphene.metrics.similarity import SIMILARITIES

# 120 pairs; more add no information and take time.
MOST_CLASSES = 16
# Similarities of unrelated images vary by so much (HOG of noise, 32 x 32 to 224 x 224), however few there are.
LEAST_DEVIATION = 0.03

Pair = tuple[ConceptMap, ConceptMap]


@dataclass(frozen=True, eq=False)
class Baseline:
    """How similar a run's maps of different classes are: what other similarities are judged against.

    Attributes:
        values: Measure -> its value for every pair of maps.
        classes: Number of classes that were compared.
    """

    values: dict[str, torch.Tensor]
    classes: int

    @property
    def mean(self) -> dict[str, float]:
        """For each similarity measure, its mean over the pairs of maps of different classes."""
        return {name: float(values.mean()) for name, values in self.values.items()}

    def limit(self, count: int) -> float:
        """Return up to which mean HOG similarity over ``count`` pairs maps count as those of different classes.

        The limit lies above the mean of ``values`` by two standard errors of the difference of
        two means, one over ``count`` pairs, the other over pairs of ``classes`` maps. Pairs share maps, so there are no
        more independent ones than maps. Chance alone exceeds it about once in forty times, while a map that has not
        changed has a similarity of 1.
        """
        deviation = max(float(self.values["hog"].std(correction=0)), LEAST_DEVIATION)
        return self.mean["hog"] + 2 * deviation * math.sqrt(1 / count + 1 / self.classes)

    def figures(self) -> dict[str, float]:
        """Return mean and 95 % quantile of every similarity between classes, for a finding.

        Their names are ``hog_at_other_class``, ``hog_at_other_class_p95`` and the like.
        """
        means = {f"{name}_at_other_class": value for name, value in self.mean.items()}
        quantiles = {f"{name}_at_other_class_p95": float(values.quantile(0.95)) for name, values in self.values.items()}
        return means | quantiles


def first_of_each_class(maps: Iterable[ConceptMap]) -> list[ConceptMap]:
    """Return the first map of each class among ``maps``, in the order in which classes appear."""
    first_maps: dict[int, ConceptMap] = {}
    for one in maps:
        first_maps.setdefault(one.index, one)
    return list(first_maps.values())


def similarities(pairs: Iterable[Pair]) -> dict[str, torch.Tensor]:
    """Return measure -> its values for pairs of maps, a float64 tensor (pairs,).

    Maps are rendered as for scores, with pixels of standard deviation 0.2.
    """
    images = [[render(one.nu, SCORE_CONTRAST) for one in pair] for pair in pairs]
    return {
        name: torch.tensor([similarity(*pair) for pair in images], dtype=torch.float64)
        for name, similarity in SIMILARITIES.items()
    }


def mean_similarities(pairs: Iterable[Pair]) -> dict[str, float]:
    """Return, for each similarity measure, its mean over at least one pair of maps."""
    return {name: float(values.mean()) for name, values in similarities(pairs).items()}


def across_classes(maps: Sequence[ConceptMap]) -> "Baseline | None":
    """Return the Baseline of maps, from the first maps of at most 16 classes; ``None`` with one class."""
    first_maps = first_of_each_class(maps)[:MOST_CLASSES]
    if len(first_maps) < 2:
        return None
    return Baseline(similarities(itertools.combinations(first_maps, 2)), len(first_maps))
