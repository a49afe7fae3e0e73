"""Maps of one model into one run directory: plan the jobs, make the missing ones in groups."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.errors import ConceptError
from phosphene.mapper import Step, in_groups, map_jobs
from phosphene.mapper.cycle import passes
from phosphene.recipe import RECIPES, Recipe
from phosphene.runs import RunDirectory, RunFacts
from phosphene.samples import SamplePool

# Of each half of a run's name; file systems take 255 in all.
MOST_BYTES = 100


@dataclass(frozen=True)
class MapPlan:
    """What a ``map`` command comes to, for one model.

    Attributes:
        classifier: The model.
        recipe: Hyper-parameters.
        jobs: Classes and seeds, finished ones included.
        pool: Samples.
        run: Where the results go.
    """

    classifier: Classifier
    recipe: Recipe
    jobs: tuple[Job, ...]
    pool: SamplePool
    run: RunDirectory

    @property
    def passes(self) -> int:
        """Images that all jobs together send through the network, a backward counted as one more."""
        return len(self.jobs) * passes(self.recipe)


@dataclass(frozen=True)
class Progress:
    """Where an execution stands: which maps are being made, and what the last step said."""

    maps_done: int
    maps_total: int
    labels: tuple[str, ...]
    step: Step


def run_name(classifier: Classifier, recipe: Recipe) -> str:
    """Name a run directory after its model and recipe.

    A card may call its network anything: what is no letter, digit, dot or dash becomes a dash.
    """
    names = (re.sub(r"[^\w.-]+", "-", name).encode()[:MOST_BYTES] for name in (classifier.name, recipe.name))
    return "-".join(name.decode(errors="ignore") for name in names).lstrip(".-")


def default_run(classifier: Classifier, recipe: Recipe, samples: "str | None" = None) -> Path:
    """Return where a run goes when the user names no place: runs/<model>-<recipe>.

    A short hash follows where the recipe was changed or samples were chosen, so that trying things does not collide.
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
    concepts: "Sequence[str | int] | None" = None,
    seeds: Sequence[int] = (0,),
) -> MapPlan:
    """Turn concepts (``None`` for all classes) and seeds into jobs, and see that ``out`` can take them.

    Raises:
        ConceptError: a concept names no class, or several.
        RunError: the directory belongs to something else.
    """
    if concepts is None:
        indices = list(range(classifier.num_classes))
    else:
        indices = list(dict.fromkeys(classifier.labels.find(concept) for concept in concepts))
    if not indices:
        raise ConceptError("no concept was given: name one with -c, or take --all.")
    jobs = tuple(Job(index, seed) for index in indices for seed in seeds)
    run = RunDirectory(out)
    run.check(RunFacts.of(classifier, recipe, pool))
    return MapPlan(classifier, recipe, jobs, pool, run)


def execute(
    plan: MapPlan,
    *,
    device: str = "auto",
    precision: str = "auto",
    watch: "Callable[[Progress], None] | None" = None,
    done: "Callable[[ConceptMap], None] | None" = None,
) -> list[ConceptMap]:
    """Make the maps that are not there yet, a group at a time, and return all maps of the plan.

    A group's maps are written when it is finished; after an interruption the same plan goes on from there.

    Args:
        plan: What to make.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        watch: Called after every step.
        done: Called for every map, also for those that were there already.

    Raises:
        RunError: the run directory belongs to something else or cannot be written.
        NumericError: the network answers with NaN or infinity.
    """
    found: dict[Job, ConceptMap] = {}

    def keep(job: Job, one: ConceptMap) -> None:
        found[job] = one
        if done is not None:
            done(one)

    def look(jobs: Sequence[Job]) -> list[Job]:
        """Take up what is there already, also what another process has just made; return the rest."""
        for job in jobs:
            label = plan.classifier.labels[job.index]
            if plan.run.finished(job, label):
                keep(job, plan.run.read(plan.run.folder(job, label)))
        return [job for job in jobs if job not in found]

    with Engine(plan.classifier, device=device, precision=precision) as engine:
        engine.spatial_layer(plan.recipe.xi_layer)  # before the directory is bound to a recipe that cannot work
        facts = RunFacts.of(plan.classifier, plan.recipe, plan.pool, str(engine.device), precision)
        plan.run.begin(facts, [(job, plan.classifier.labels[job.index]) for job in plan.jobs])
        pool = plan.pool.to(engine.device)
        for group in in_groups(look(plan.jobs), engine, plan.recipe):
            missing = look(group)
            if missing:
                tell = _teller(plan, len(found), missing, watch)
                for job, one in zip(missing, map_jobs(engine, pool, missing, plan.recipe, tell), strict=True):
                    plan.run.write(one)
                    keep(job, one)
    return [found[job] for job in plan.jobs]


def _teller(
    plan: MapPlan, done: int, group: Sequence[Job], watch: "Callable[[Progress], None] | None"
) -> "Callable[[Step], None] | None":
    """Turn a group's steps into the progress of the whole plan."""
    if watch is None:
        return None
    names = tuple(plan.classifier.labels.short(job.index) for job in group)
    return lambda step: watch(Progress(done, len(plan.jobs), names, step))
