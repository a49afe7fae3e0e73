"""Plans of ``map`` commands: which maps are to be made, with what, and where they go; no work is begun."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import ConceptError, SpecError
from phosphene.mapper import group_size, passes_per_map
from phosphene.recipe import RECIPES, Recipe
from phosphene.runs import RunDirectory, RunFacts
from phosphene.samples import SamplePool
from phosphene.workflows.arguments import Concepts, Model, Samples, to_classifier, to_indices, to_pool

MOST_SEEDS = 2**32
# Of each half of a run's name; file systems take 255 in all.
MOST_BYTES = 100


class Jobs(Sequence[Job]):
    """Every seed of every class, classes first: a million jobs take no more room than ten.

    Args:
        indices: Classes.
        seeds: Seeds of each.
    """

    def __init__(self, indices: Sequence[int], seeds: Sequence[int]) -> None:
        self.indices, self.seeds = indices, seeds

    def __len__(self) -> int:
        return len(self.indices) * len(self.seeds)

    @overload
    def __getitem__(self, position: int) -> Job: ...
    @overload
    def __getitem__(self, position: slice) -> list[Job]: ...
    def __getitem__(self, position: "int | slice") -> "Job | list[Job]":
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        row, column = divmod(position % len(self), len(self.seeds))
        return Job(self.indices[row], self.seeds[column])

    def __iter__(self) -> Iterator[Job]:
        return (Job(index, seed) for index in self.indices for seed in self.seeds)


@dataclass(frozen=True)
class MapPlan:
    """The maps that a ``map`` command is to make with one model and recipe.

    Attributes:
        classifier: The model.
        recipe: Hyper-parameters.
        jobs: Classes and seeds, finished ones included.
        pool: Samples.
        run: Where the results go.
        trust: Whether workers may run code that comes with the model, as the one who planned did.
    """

    classifier: Classifier
    recipe: Recipe
    jobs: Sequence[Job]
    pool: SamplePool
    run: RunDirectory
    trust: bool = False

    @property
    def passes(self) -> int:
        """Images that all jobs together send through the network, a backward counted as one more."""
        return len(self.jobs) * passes_per_map(self.recipe)

    def sha256(self, job: Job) -> str:
        """Hash of everything that determines a job's map: weights, recipe, samples, class and seed."""
        facts = (self.classifier.sha256, self.recipe.sha256, self.pool.sha256, job.index, job.seed)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def together(self, device: str) -> int:
        """How many maps are made together on a device."""
        return group_size(Engine(self.classifier, device=device), self.recipe)


def run_name(classifier: Classifier, recipe: Recipe) -> str:
    """Name a run directory after its model and recipe."""
    return directory_name(classifier.name, recipe.name)


def directory_name(*names: str) -> str:
    """Join names, of which a card may choose any, into that of a directory.

    Anything but letters, digits, dots and dashes becomes a dash.
    """
    short = (re.sub(r"[^\w.-]+", "-", name).encode()[:MOST_BYTES] for name in names)
    return "-".join(name.decode(errors="ignore") for name in short).lstrip(".-")


def default_run(classifier: Classifier, recipe: Recipe, samples: "str | None" = None) -> Path:
    """Return where a run goes when the user names no place: runs/<model>-<recipe>.

    A short hash follows if the recipe was changed or samples were chosen, so that trying things does not collide.
    """
    name = run_name(classifier, recipe)
    if samples is not None or recipe not in [known for _, known in RECIPES.values()]:
        name += "-" + hashlib.sha256(f"{recipe.sha256} {samples}".encode()).hexdigest()[:6]
    return Path("runs") / name


def plan(
    classifier: Classifier,
    recipe: Recipe,
    pool: SamplePool,
    out: "str | Path",
    concepts: "Concepts | None" = None,
    seeds: Sequence[int] = (0,),
    *,
    trust: bool = False,
) -> MapPlan:
    """Turn concepts (``None`` for all classes) and seeds into jobs, and check that ``out`` can take them.

    Raises:
        ConceptError: a concept names no class, or several.
        RunError: the directory belongs to something else.
    """
    indices, run = to_indices(concepts, classifier), RunDirectory(out)
    run.check(RunFacts.of(classifier, recipe, pool))
    return MapPlan(classifier, recipe, Jobs(indices, seeds), pool, run, trust)


def plan_all(
    models: Sequence[Model],
    concepts: "Concepts | None",
    recipes: Sequence[Recipe],
    samples: Samples,
    seeds: Sequence[int],
    out: "str | Path | None" = None,
    *,
    trust: bool = False,
) -> list[MapPlan]:
    """Plan a run per model and recipe; if there are several, ``out`` holds one directory for each.

    Raises:
        SpecError: two runs would share a directory.
        PhospheneError: a model, the samples or a concept does not exist, or a directory cannot take its run.
    """
    plans: list[MapPlan] = []
    for model in models:
        classifier = to_classifier(model, trust=trust)
        pool = to_pool(samples, classifier)
        for recipe in recipes:
            where = (
                Path(out)
                if out is not None
                else default_run(classifier, recipe, None if samples is None else pool.spec)
            )
            if out is not None and len(models) * len(recipes) > 1:
                where /= run_name(classifier, recipe)
            if where in [other.run.path for other in plans]:
                raise SpecError(
                    f"two models or recipes are called {where.name!r} and would share {where}: map them one by one."
                )
            plans.append(plan(classifier, recipe, pool, where, concepts, seeds, trust=trust))
    return plans


def seed_range(seed: int, seeds: int) -> range:
    """Return the seeds of each concept.

    Raises:
        ConceptError: there are none, or one is out of range.
    """
    if not isinstance(seeds, int) or not isinstance(seed, int) or seeds < 1 or seed < 0 or seed + seeds > MOST_SEEDS:
        raise ConceptError(f"seeds={seeds!r} from seed={seed!r} cannot be used: give seeds=1 or more, seed=0 or more.")
    return range(seed, seed + seeds)
