"""The Python interface in one function; the rest of it is re-exported by the package root."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMaps, Job
from phosphene.engine import Engine
from phosphene.errors import ConceptError, RecipeError, SamplesError
from phosphene.mapper import Step, in_groups, map_jobs
from phosphene.recipe import DEFAULT_RECIPE, Recipe, resolve
from phosphene.samples import SamplePool, default_samples, load_samples

MOST_SEEDS = 2**32


def map_concepts(
    classifier: Classifier,
    concepts: "Sequence[str | int] | None" = None,
    *,
    recipe: "str | Path | Recipe" = DEFAULT_RECIPE,
    overrides: "Mapping[str, Any] | None" = None,
    samples: "str | Path | SamplePool | None" = None,
    seeds: int = 1,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    on_progress: "Callable[[Step], None] | None" = None,
    frames: int = 0,
) -> ConceptMaps:
    """Map what a classifier means by some of its classes.

    Args:
        classifier: From :func:`phosphene.load`, or made from a module.
        concepts: Indices, labels or synonyms; ``None`` for all classes.
        recipe: A name, a TOML file or a :class:`~phosphene.recipe.Recipe`.
        overrides: Recipe fields to change.
        samples: A sample spec or a pool; by default ``synthetic:mixed``, which needs no data (``demo:shapes`` for the
            demo models).
        seeds: Maps a concept; their seeds are ``seed`` to ``seed + seeds - 1``.
        seed: The first seed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        on_progress: Called after every step.
        frames: Images of each map as it develops, evenly spaced over all steps: ``maps[0].frames``.

    Returns:
        One map a (concept, seed), concepts first: a list that shows itself in a notebook.

    Raises:
        PhospheneError: an argument does not fit; the message names the fix.
    """
    if seeds < 1 or seed < 0 or seed + seeds > MOST_SEEDS:
        raise ConceptError(f"seeds {seed} to {seed + seeds - 1} were asked for; give seeds=1 or more, seed=0 or more.")
    if frames < 0:
        raise RecipeError(f"{frames} frames were asked for; give frames=24, or 0 for none.")
    settings = resolve(recipe, overrides)
    wanted = range(classifier.num_classes) if concepts is None else concepts
    indices = list(dict.fromkeys(classifier.labels.find(concept) for concept in wanted))
    if samples is None:
        samples = default_samples(classifier.spec)
    pool = samples if isinstance(samples, SamplePool) else load_samples(samples, classifier.input.shape)
    if tuple(pool.pixels.shape[1:]) != classifier.input.shape:
        shape = tuple(pool.pixels.shape[1:])
        raise SamplesError(f"the samples of the pool are {shape}, but the network's input is {classifier.input.shape}.")
    jobs = [Job(index, number) for index in indices for number in range(seed, seed + seeds)]
    maps = ConceptMaps()
    with Engine(classifier, device=device, precision=precision) as engine:
        pool = pool.to(engine.device)
        for group in in_groups(jobs, engine, settings):
            maps += map_jobs(engine, pool, group, settings, on_progress, frames)
    return maps
