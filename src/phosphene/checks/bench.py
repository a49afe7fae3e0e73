"""What checks work with: the maps to check, the means to make others by the same recipe, and what these have in common.

A map that two checks need is made once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from phosphene.checks.baseline import Baseline, Pair, across, firsts, means
from phosphene.checks.chance import Reading, read
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.mapper import Step, in_groups, map_jobs
from phosphene.metrics.predictions import logits_of_maps
from phosphene.metrics.randomise import PICTURES, blocks, cascade, few_depths
from phosphene.recipe import Recipe
from phosphene.samples import SamplePool, load_samples

Mapper = Callable[
    [Engine, SamplePool, Sequence[Job], Recipe, "Callable[[Step], None] | None"],
    list[ConceptMap],
]


@dataclass(frozen=True)
class Request:
    """A map that a check needs, made by the recipe of the maps that are checked.

    Attributes:
        job: Class and seed.
        depth: Blocks that are drawn anew, from the last; 0 is the network as it is.
        samples: Spec of the samples; empty for the bench's own.
    """

    job: Job
    depth: int = 0
    samples: str = ""


@dataclass(frozen=True)
class Standing:
    """Which maps are being made for checks, and what the last step said."""

    maps_done: int
    maps_total: int
    labels: tuple[str, ...]
    step: Step


class Bench:
    """Maps of one network, and the means to make others.

    Args:
        classifier: The network that the maps come from.
        pool: Samples to make other maps from.
        recipe: What the maps were made by.
        maps: What is checked; several seeds of a class may be among them.
        most: Classes for which other maps are made, spread over all that there are.
        same_samples: Whether ``maps`` were made from ``pool``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        mapper: What makes maps; another method can be checked like ours.
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
        self.chosen = spread(maps, most)
        self.same_samples = same_samples
        self.device, self.precision, self.mapper = device, precision, mapper
        self.made: dict[Request, ConceptMap] = {}
        self.total = 0  # maps to make, for the progress
        self.watch: Callable[[Standing], None] | None = None

    # --- other maps

    @cached_property
    def blocks(self) -> list[str]:
        """Names of the network's blocks, last first."""
        return [name for name, _ in blocks(self.classifier)]

    @cached_property
    def depths(self) -> list[int]:
        """How many blocks are drawn anew, one after the other; the last is all of them."""
        return few_depths(len(self.blocks))

    def network(self, depth: int) -> Classifier:
        """Return the network with its last ``depth`` blocks drawn anew."""
        if depth == 0:
            return self.classifier
        pictures = torch.cat([self.pool.pixels[:PICTURES], self.pool.held_out])[:PICTURES].float() / 255
        return next(cascade(self.classifier, pictures=pictures, depths=[depth]))[1]

    def anew(self, depth: int = 0, samples: str = "") -> list[Request]:
        """Ask for the chosen maps once more, under other conditions."""
        return [Request(Job(one.index, one.seed), depth, samples) for one in self.chosen]

    def second_seeds(self) -> list[Request]:
        """Ask for another seed of each chosen map, where the run has none."""
        return [Request(Job(one.index, one.seed + 1)) for one in self.chosen if not self._siblings(one)]

    def same_class(self, one: ConceptMap) -> list[ConceptMap]:
        """Return the maps of its class from other seeds; :meth:`second_seeds` are made before."""
        return self._siblings(one) or [self.made[Request(Job(one.index, one.seed + 1))]]

    def make(self, requests: Iterable[Request]) -> None:
        """Make the maps that are not there yet, in groups that share a network and samples.

        Raises:
            NumericError: a network answers with NaN or infinity.
        """
        groups: dict[tuple[int, str], list[Job]] = {}
        for request in dict.fromkeys(requests):
            if request not in self.made:
                groups.setdefault((request.depth, request.samples), []).append(request.job)
        for (depth, samples), jobs in groups.items():
            shape = self.classifier.input.shape
            pool = load_samples(samples, shape) if samples else self.pool
            with self.engine(depth) as engine:
                near = pool.to(engine.device)
                for group in in_groups(jobs, engine, self.recipe):
                    made = self.mapper(engine, near, group, self.recipe, self._teller(group, depth, samples))
                    for job, one in zip(group, made, strict=True):
                        self.made[Request(job, depth, samples)] = one

    def take(self, requests: Iterable[Request]) -> list[ConceptMap]:
        """Return maps that have been made."""
        return [self.made[request] for request in requests]

    # --- what they say

    def engine(self, depth: int = 0) -> Engine:
        """Return an engine for the network with its last ``depth`` blocks drawn anew, to be opened."""
        return Engine(self.network(depth), device=self.device, precision=self.precision)

    def read(self, maps: Sequence[ConceptMap], depth: int = 0) -> Reading:
        """Have the network, or one whose last ``depth`` blocks are drawn anew, read maps."""
        with self.engine(depth) as engine:
            return read(logits_of_maps(engine, maps), [one.index for one in maps])

    @cached_property
    def across(self) -> "Baseline | None":
        """How alike maps of different classes are; ``None`` where there is one class."""
        return across(self.maps)

    @cached_property
    def within(self) -> dict[str, float]:
        """How alike maps of one class from two seeds are; :meth:`second_seeds` are made before."""
        return means((one, other) for one in self.chosen for other in self.same_class(one))

    def reference(self) -> dict[str, float]:
        """Return the figures that every similarity is read against."""
        across = self.across.figures() if self.across else {}
        return across | {f"{name}_at_other_seed": value for name, value in self.within.items()}

    def likeness(self, others: Sequence[ConceptMap]) -> "Likeness":
        """Compare the chosen maps with others of the same classes, one each."""
        pairs: list[Pair] = list(zip(self.chosen, others, strict=True))
        return Likeness(means(pairs), self.across.limit("hog", len(pairs)) if self.across else None)

    def _siblings(self, one: ConceptMap) -> list[ConceptMap]:
        return [other for other in self.maps if other.index == one.index and other.seed != one.seed]

    def _teller(self, group: Sequence[Job], depth: int, samples: str) -> "Callable[[Step], None] | None":
        """Turn a group's steps into the progress of all checks."""
        if self.watch is None:
            return None
        watch, done, short = self.watch, len(self.made), self.classifier.labels.short
        why = f"{depth} of {len(self.blocks)} blocks drawn anew: " if depth else f"from {samples}: " * bool(samples)
        first, *rest = (short(job.index) for job in group)
        names = (why + first, *rest)
        return lambda step: watch(Standing(done, max(self.total, done + len(group)), names, step))


@dataclass(frozen=True)
class Likeness:
    """How alike maps and others of the same classes are.

    Attributes:
        mean: By similarity.
        limit: Up to this HOG similarity they are no more alike than different classes; ``None`` where there is one.
    """

    mean: dict[str, float]
    limit: "float | None"

    @property
    def as_different_classes(self) -> "bool | None":
        """Whether they are no more alike than maps of different classes, by HOG; ``None`` where there is one class."""
        return None if self.limit is None else self.mean["hog"] <= self.limit

    def figures(self, condition: object) -> dict[str, float]:
        """Return the figures under their names."""
        return {f"{name}_at_{condition}": value for name, value in self.mean.items()}


def spread(maps: Sequence[ConceptMap], most: int) -> list[ConceptMap]:
    """Choose the first map of at most ``most`` classes, spread evenly over all classes in their order."""
    offered = firsts(maps)
    if len(offered) <= most:
        return offered
    return [offered[round(place * (len(offered) - 1) / max(most - 1, 1))] for place in range(most)]
