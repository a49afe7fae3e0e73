"""Plans of ``map`` commands: which maps are to be made, with what, and where they go; no work is begun."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from phosphene.arguments import Concepts, Model, Samples, concept_list, to_classifier, to_concepts, to_pool
from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.concepts import Concept
from phosphene.errors import ConceptError, SpecError
from phosphene.executors.base import MapPlan
from phosphene.formats import count, percent
from phosphene.mapper.units import resolve_units
from phosphene.recipe import CHANGED, DEFAULT_CHANNELS, RECIPES, Recipe
from phosphene.runs import RunDirectory
from phosphene.runs.paths import directory_name
from phosphene.samples import MEMORY, SamplePool
from phosphene.textfile import exists
from phosphene.workflows.confused import confused_pairs

# Confused pairs that are named.
MOST_PAIRS = 10
MOST_MAPS = 10**7  # of one command; planning alone takes 10 s


class Jobs(Sequence[Job]):
    """Sequence of the jobs of every concept and seed, all seeds of the first concept first; made on access, so a million take no room.

    Args:
        concepts: What to map.
        seeds: Seeds of each.
    """

    def __init__(self, concepts: Sequence[Concept], seeds: Sequence[int]) -> None:
        self.concepts, self.seeds = concepts, seeds

    def __len__(self) -> int:
        return len(self.concepts) * len(self.seeds)

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
        return Job.of(self.concepts[row], self.seeds[column])

    def __iter__(self) -> Iterator[Job]:
        return (Job.of(concept, seed) for concept in self.concepts for seed in self.seeds)


def run_name(classifier: Classifier, recipe: Recipe) -> str:
    """Return the name of a run's directory, ``<model>-<recipe>``."""
    return directory_name(classifier.name, recipe.name.removesuffix(CHANGED))


def default_run(classifier: Classifier, recipe: Recipe, samples: "str | None" = None) -> Path:
    """Return the default run directory: runs/<model>-<recipe>; a hash follows if the recipe is not built in or ``samples`` are given.

    The hash is of recipe and samples: of their spec, or of their own hash if they are in memory. One of the model follows
    if another model of this name has been mapped there. So trying things does not collide.
    """
    name = run_name(classifier, recipe)
    if samples is not None or recipe not in RECIPES.values():
        name += "-" + hashlib.sha256(f"{recipe.sha256} {samples}".encode()).hexdigest()[:6]
    return unless_of_another_model(Path("runs") / name, classifier)


def unless_of_another_model(path: Path, classifier: Classifier) -> Path:
    """Return ``path``, but with 6 digits of this model's hash appended if the run directory there is of another model."""
    if not exists(path / "run.json"):
        return path
    own, theirs = classifier.sha256, RunDirectory(path).facts()["model"]["sha256"]
    return path if own == theirs else path.with_name(f"{path.name}-{own[:6]}")


def plan(
    classifier: Classifier,
    recipe: Recipe,
    pool: SamplePool,
    out: "str | Path",
    concepts: "Concepts | None" = None,
    seeds: Sequence[int] = (0,),
    *,
    most: int = DEFAULT_CHANNELS,
    **settings: Any,
) -> MapPlan:
    """Return the MapPlan of a map per concept (``None``: all classes) and seed; RunError if ``out`` has another run or other files.

    With ``unit:LAYER:*`` the concepts are the ``most`` active channels of the layer. Further arguments are the
    ``device``, ``precision``, ``compile`` and ``frames`` of :class:`MapPlan`.

    Raises:
        ConceptError: a concept names no class or several, or has several meanings.
        RunError: the directory has a run of another model, recipe or samples, or files that are no run.
    """
    run = RunDirectory(out)
    named = to_concepts(_with_stored_directions(run, concepts), classifier)
    known = resolve_units(named, classifier, pool, most, settings.get("device", "auto"))
    jobs = Jobs(known, seeds)
    if len(jobs) > MOST_MAPS:
        raise ConceptError(f"that is {len(jobs):,} maps; one command makes {MOST_MAPS:,} at most: give fewer seeds.")
    made = MapPlan(classifier=classifier, recipe=recipe, pool=pool, run=run, jobs=jobs, **settings)
    run.check(made.facts, classifier.labels)
    return made


def _with_stored_directions(run: RunDirectory, concepts: Any) -> "list[Any] | None":
    """Return the concepts; a direction whose file is gone is the one that the run holds, if it has maps of it."""
    given = concept_list(concepts)
    if given is None or not exists(run.path / "run.json"):
        return given
    directions = {one.expression: one for one in run.concepts() if one.unit and one.unit.direction}
    gone = {name: one for name, one in directions.items() if one.unit and not exists(one.unit.file)}
    return [gone.get(one, one) if isinstance(one, str) else one for one in given]


def plan_all(
    models: Sequence[Model],
    concepts: "Concepts | None",
    recipes: Sequence[Recipe],
    samples: Samples,
    seeds: Sequence[int],
    out: "str | Path | None" = None,
    *,
    confused: int = 0,
    on_note: Callable[[str], None] = lambda _: None,
    trust: bool = False,
    **settings: Any,
) -> list[MapPlan]:
    """Load models and samples, and return a MapPlan per model and recipe; if several, ``out`` holds a directory each.

    With ``confused``, the concepts are left out, and are the contrasts of so many pairs of classes that each model confuses
    most on the samples; each pair is passed to ``on_note`` as a line. Further arguments are those of :func:`plan`.

    Raises:
        SpecError: two runs would share a directory.
        ConceptError: both ``concepts`` and ``confused`` are given.
        PhospheneError: a model, the samples or a concept does not exist, or a directory cannot take its run.
    """
    concepts = concept_list(concepts)
    if confused and concepts is not None:
        raise ConceptError("confused pairs are mapped in place of concepts: leave out one or the other.")
    plans: list[MapPlan] = []
    for model in models:
        classifier = to_classifier(model, trust=trust, concepts=concepts)
        pool = to_pool(samples, classifier)
        given = None if samples is None else pool.sha256 if pool.spec == MEMORY else pool.spec
        try:
            chosen = concepts
            if confused:
                chosen = _confused_contrasts(classifier, pool, confused, settings.get("device", "auto"), on_note)
            for recipe in recipes:
                where = default_run(classifier, recipe, given) if out is None else Path(out)
                if out is not None and len(models) * len(recipes) > 1:
                    where /= run_name(classifier, recipe)
                if where in [other.run.path for other in plans]:
                    raise SpecError(
                        f"two models or recipes are called {where.name!r} and would share {where}: map them one by one."
                    )
                plans.append(plan(classifier, recipe, pool, where, chosen, seeds, **settings))
        except ConceptError as error:
            if len(models) < 2:
                raise
            raise ConceptError(f"{classifier.name}: {error}") from None
    return plans


def _confused_contrasts(
    classifier: Classifier, pool: SamplePool, most: int, device: str, on_note: Callable[[str], None]
) -> list[str]:
    """Return both contrasts of each of the ``most`` pairs of classes that a model confuses most; pass a line per pair to ``on_note``."""
    pairs = confused_pairs(classifier, pool, most, device=device)
    for pair in pairs[:MOST_PAIRS]:
        on_note(f"{classifier.name} confuses {pair}")
    if len(pairs) > MOST_PAIRS:
        further, share = count(len(pairs) - MOST_PAIRS, "further pair"), percent(pairs[MOST_PAIRS].share)
        on_note(f"and {further}, each less often (at most {share})")
    return [way.expression for pair in pairs for way in (pair.first, pair.second)]
