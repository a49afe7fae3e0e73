"""What checks work with: the maps to check, and the means to make others by the same recipe.

A map that two checks need is made once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from phosphene.checks.baseline import Baseline, across_classes, first_of_each_class, mean_similarities
from phosphene.checks.finding import Finding, judged
from phosphene.checks.map_predictions import MapPredictions, predictions_of
from phosphene.checks.randomised import SAMPLES, blocks, few_depths, randomised
from phosphene.checks.words import Words
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.concepts import disjoint, is_unit
from phosphene.engine import Engine
from phosphene.labels import first_synonym
from phosphene.mapper import Step, in_groups, map_jobs
from phosphene.mapper.units import engine_and_targets
from phosphene.metrics.predictions import logits_of_maps
from phosphene.metrics.similarity import LEAST_SIDE
from phosphene.recipe import Recipe
from phosphene.samples import SamplePool, load_samples

Mapper = Callable[
    [Engine, SamplePool, Sequence[Job], Recipe, "Callable[[Step], None] | None"],
    list[ConceptMap],
]
# Called with the maps that were made for checks, how many there will be, the names of those being made, their step, and
# whether some of them are of units.
OnProgress = Callable[[int, int, tuple[str, ...], Step, bool], None]


@dataclass(frozen=True)
class Request:
    """A map that a check asks for.

    Attributes:
        job: Class and seed.
        depth: How many blocks are randomised, from the last; 0 is the network as it is.
        samples: Spec of the samples; empty for those of the context.
    """

    job: Job
    depth: int = 0
    samples: str = ""


class CheckContext:
    """What checks work with: maps, network, samples and recipe.

    It makes the other maps that checks ask for, and keeps them in ``made``.

    Args:
        classifier: The network that the maps come from.
        pool: Samples to make other maps from.
        recipe: Recipe that the maps were made by.
        maps: Maps that are checked; several seeds of a class may be among them.
        most: Classes for which other maps are made, spread over all that there are.
        same_samples: Whether ``maps`` were made from ``pool``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto`` (bf16 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        mapper: Function that makes maps; another method can be checked like ours.
    """

    def __init__(
        self,
        classifier: Classifier,
        pool: SamplePool,
        recipe: Recipe,
        maps: Sequence[ConceptMap],
        *,
        most: int = 4,
        same_samples: bool = True,
        device: str = "auto",
        precision: str = "auto",
        mapper: Mapper = map_jobs,
    ) -> None:
        self.classifier, self.pool, self.recipe, self.maps = classifier, pool, recipe, tuple(maps)
        self.chosen = choose_maps(maps, most)
        self.same_samples = same_samples
        self.device, self.precision, self.mapper = device, precision, mapper
        self.made: dict[Request, ConceptMap] = {}
        self.maps_total = 0  # maps to make, for the progress
        self.on_progress: OnProgress | None = None

    @property
    def classes(self) -> int:
        """Number of ``chosen`` maps that count as independent: those that pull up the same class count once."""
        return len(disjoint(one.concept for one in self.chosen))

    @property
    def has_inner_units(self) -> bool:
        """Whether some ``chosen`` maps are of units of inner layers.

        The layers that follow have no influence on these.
        """
        return any(one.concept.is_inner_unit for one in self.chosen)

    @property
    def too_small(self) -> bool:
        """Whether similarities are not defined for the maps, because they have sides below 8 pixels."""
        return min(self.classifier.input.size) < LEAST_SIDE

    @cached_property
    def words(self) -> Words:
        """What the ``chosen`` maps are of, in words."""
        return Words.of(one.concept for one in self.chosen)

    # --- other maps

    @cached_property
    def blocks(self) -> list[str]:
        """Names of the network's blocks (layers that are randomised together), the last one first."""
        return [name for name, _ in blocks(self.classifier)]

    @cached_property
    def depths(self) -> list[int]:
        """Numbers of last blocks that the cascade randomises, in rising order.

        The last is all of them; there are none if the network has no blocks.
        """
        return few_depths(len(self.blocks))

    def network(self, depth: int) -> Classifier:
        """Return a copy of the classifier with its last ``depth`` blocks randomised; itself for depth 0."""
        if depth == 0:
            return self.classifier
        samples = torch.cat([self.pool.pixels[:SAMPLES], self.pool.held_out])[:SAMPLES].float() / 255
        return randomised(self.classifier, depth, samples=samples)

    def engine(self, depth: int = 0) -> Engine:
        """Return an engine, for the caller to enter, of the classifier with its last ``depth`` blocks randomised."""
        return Engine(self.network(depth), device=self.device, precision=self.precision)

    def under(self, depth: int = 0, samples: str = "") -> list[Request]:
        """Return requests to make the ``chosen`` maps again with ``depth`` randomised blocks or other samples."""
        return [Request(one.job, depth, samples) for one in self.chosen]

    def second_seeds(self) -> list[Request]:
        """Return requests for a further seed of each ``chosen`` map whose class has one seed in the run."""
        return [Request(_next_seed(one)) for one in self.chosen if not self._other_seeds(one)]

    def same_class(self, one: ConceptMap) -> list[ConceptMap]:
        """Return maps of ``one``'s class from other seeds.

        They are the run's, or the one made for :meth:`second_seeds`, which must exist by now.
        """
        return self._other_seeds(one) or [self.made[Request(_next_seed(one))]]

    def make(self, requests: Iterable[Request]) -> None:
        """Compute the requested maps that do not exist yet, and store them in ``made``.

        Maps of one network and one set of samples are made together.

        Raises:
            NumericError: a network returns NaN or infinity.
        """
        groups: dict[tuple[int, str], list[Job]] = {}
        for request in dict.fromkeys(requests):
            if request not in self.made:
                groups.setdefault((request.depth, request.samples), []).append(request.job)
        for (depth, samples), jobs in groups.items():
            pool = load_samples(samples, self.classifier.input.shape) if samples else self.pool
            with self.engine(depth) as engine:
                pool = pool.to(engine.device)
                for group in in_groups(jobs, engine, self.recipe):
                    maps = self.mapper(engine, pool, group, self.recipe, self._on_step(group, depth, samples))
                    self.made |= {Request(job, depth, samples): one for job, one in zip(group, maps, strict=True)}

    def take(self, requests: Iterable[Request]) -> list[ConceptMap]:
        """Return the maps of requests that :meth:`make` has fulfilled; KeyError if one is missing."""
        return [self.made[request] for request in requests]

    # --- measurements

    def predict(self, maps: Sequence[ConceptMap], depth: int = 0) -> MapPredictions:
        """Classify maps by the network, or with its last ``depth`` blocks randomised."""
        with self.engine(depth) as engine:
            units_engine, targets = engine_and_targets(
                engine, [one.concept for one in maps], self.pool.to(engine.device)
            )
            return predictions_of(logits_of_maps(units_engine, maps), targets.cpu(), units_engine.classifier)

    @cached_property
    def across(self) -> "Baseline | None":
        """The similarities between the run's maps of different classes; ``None`` with one class."""
        return across_classes(self.maps)

    @cached_property
    def within(self) -> dict[str, float]:
        """Mean similarity, per measure, of the ``chosen`` maps to those of the same class from other seeds.

        The latter must have been made.
        """
        return mean_similarities((one, other) for one in self.chosen for other in self.same_class(one))

    def judge(
        self,
        name: str,
        figures: dict[str, float],
        passed: "bool | None",
        facts: str,
        if_passed: str,
        if_failed: str,
        beyond_chance: "Sequence[bool | None]",
    ) -> Finding:
        """Return the Finding of a check of the ``chosen`` maps: :func:`judged` with their classes and words."""
        noun = self.words.several
        return judged(
            name, figures, self.classes, passed, facts, if_passed, if_failed, noun, beyond_chance=beyond_chance
        )

    def reference(self) -> dict[str, float]:
        """Return the similarities across classes, and across seeds of a class, as figures of a finding.

        Maps of second seeds must exist.
        """
        across = self.across.figures() if self.across else {}
        return across | {f"{name}_at_other_seed": value for name, value in self.within.items()}

    def similarity(self, others: Sequence[ConceptMap]) -> "Similarity":
        """Return the similarity, limit included, of the ``chosen`` maps to others.

        ``others`` has one map of the same class for each.
        """
        mean = mean_similarities(zip(self.chosen, others, strict=True))
        return Similarity(mean, self.across.limit(len(others)) if self.across else None)

    def _other_seeds(self, one: ConceptMap) -> list[ConceptMap]:
        """Return the run's own maps of the same class as ``one`` that have another seed."""
        return [other for other in self.maps if other.index == one.index and other.seed != one.seed]

    def _on_step(self, group: Sequence[Job], depth: int, samples: str) -> "Callable[[Step], None] | None":
        """Return a callback that passes steps of a group on to ``on_progress``; ``None`` without one.

        It adds the labels of the maps and their counts.
        """
        if self.on_progress is None:
            return None
        on_progress, maps_done, class_labels = self.on_progress, len(self.made), self.classifier.labels
        prefix = f"{depth} of {len(self.blocks)} blocks randomised: " if depth else f"from {samples}: " * bool(samples)
        labels = tuple(
            prefix * (place == 0) + first_synonym(job.concept(class_labels).label) for place, job in enumerate(group)
        )
        of_units, total = any(is_unit(job.index) for job in group), max(self.maps_total, maps_done + len(group))
        return lambda step: on_progress(maps_done, total, labels, step, of_units)


@dataclass(frozen=True)
class Similarity:
    """Mean similarity of a check's ``chosen`` maps to maps of the same classes made in another way.

    Attributes:
        mean: Measure -> mean similarity.
        limit: Up to this HOG similarity they are no more similar than different classes; ``None`` with one class.
    """

    mean: dict[str, float]
    limit: "float | None"

    @property
    def as_different_classes(self) -> "bool | None":
        """Whether the maps are no more similar (HOG) than maps of different classes; ``None`` with one class."""
        return None if self.limit is None else self.mean["hog"] <= self.limit

    def figures(self, condition: object) -> dict[str, float]:
        """Return the mean similarities for a finding, under names such as ``hog_at_2`` for the condition 2."""
        return {f"{name}_at_{condition}": value for name, value in self.mean.items()}


def _next_seed(one: ConceptMap) -> Job:
    """Return the Job (what to map, and from which seed) of ``one``'s concept with ``one``'s seed plus 1."""
    return replace(one.job, seed=one.seed + 1)


def choose_maps(maps: Sequence[ConceptMap], most: int) -> list[ConceptMap]:
    """Return the maps that checks make again: the first map of at most ``most`` classes, spread evenly over all classes."""
    first_maps = first_of_each_class(maps)
    if len(first_maps) <= most:
        return first_maps
    return [first_maps[round(place * (len(first_maps) - 1) / max(most - 1, 1))] for place in range(most)]
