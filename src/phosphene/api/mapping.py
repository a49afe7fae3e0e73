"""``map_concepts`` and ``map_models``: the maps of classifiers, in memory or in run directories."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from phosphene.arguments import (
    Concepts,
    Device,
    Model,
    Samples,
    as_list,
    concept_list,
    require_at_least,
    seed_range,
    to_classifier,
    to_concepts,
    to_pool,
)
from phosphene.checked import checked
from phosphene.engine.device import pick_device
from phosphene.errors import ArgumentError, RunError
from phosphene.executors import pick_executor
from phosphene.executors.base import MapOrigin, MapSummary
from phosphene.mapper.units import resolve_units
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.recipe import DEFAULT_CHANNELS, DEFAULT_RECIPE, Recipe, resolve
from phosphene.workflows.concept_maps import ConceptMaps
from phosphene.workflows.estimate import estimate
from phosphene.workflows.in_memory import map_in_memory, read_planned_maps
from phosphene.workflows.map import MappedRun, make_runs
from phosphene.workflows.plan import plan_all
from phosphene.workflows.progress import Progress, show_doubts


@checked
def map_concepts(
    model: Model,
    concepts: "Concepts | None" = None,
    *,
    out: "str | Path | None" = None,
    recipe: "str | Path | Recipe" = DEFAULT_RECIPE,
    overrides: "Mapping[str, Any] | None" = None,
    samples: Samples = None,
    most: int = DEFAULT_CHANNELS,
    seeds: int = 1,
    seed: int = 0,
    device: Device = "auto",
    precision: str = "auto",
    compile: str = "auto",  # noqa: A002  (the option's name)
    frames: int = 0,
    executor: str = "local",
    workers: "int | None" = None,
    threads: "int | None" = None,
    gpus: float = 0.0,
    trust: bool = False,
    progress: "bool | ProgressDisplay" = True,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> ConceptMaps:
    """Make a map per concept and seed of one classifier.

    Args:
        model: A spec or a classifier.
        concepts: An index, a label, an expression such as ``"star vs heart"``, ``"unit:stem:3"`` or ``"text:a castle"``,
            a Concept such as ``maps[0].concept``, or several of them; ``None`` for all classes.
        out: A run directory to write, which continues if it was interrupted; by default the maps stay in memory.
        recipe: A name, a TOML file or a :class:`~phosphene.recipe.Recipe`.
        overrides: Recipe fields to change.
        samples: A sample spec, a pool, or images in memory, as :func:`load_samples` takes them; by default
            ``synthetic:mixed``, which needs no data (``demo:shapes`` for the demo models).
        most: Channels that ``unit:LAYER:*`` stands for, those of the largest mean activation over the samples.
        seeds: Maps per concept; their seeds are ``seed`` to ``seed + seeds - 1``.
        seed: The first seed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        precision: ``auto`` (bf16 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        compile: Whether torch compiles the network: ``on``, ``off``, or ``auto``, on a GPU if there are maps enough.
        frames: Images of each map as it develops, evenly spaced over all steps: ``maps[0].frames``.
        executor: With ``out``: ``local``, or ``ray`` for a cluster.
        workers: With ``out``: worker processes, which load model and samples by their specs; by default this process.
        threads: With ``out``: CPU threads per worker.
        gpus: With ``out``: GPUs per worker, for ``ray``.
        trust: Allow code that came with the model to run.
        progress: Whether progress is shown.
        on_progress: Called after every step.

    Returns:
        One map per concept and seed, concepts first: a list that is indexed by name, too, and shows itself in a
        notebook.

    Raises:
        JobsError: maps could not be made; the others are in the error's ``maps``, or with ``out`` in the run.
        KeyboardInterrupt: Ctrl-C was pressed; without ``out`` its ``maps`` (in a notebook ``sys.last_value.maps``) are those
            that were finished, and with ``out`` the same call goes on.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    processes: dict[str, Any] = {"executor": executor, "workers": workers, "threads": threads, "gpus": gpus}
    computing: dict[str, Any] = {"device": str(device), "precision": precision, "compile": compile}
    if out is not None:
        options: dict[str, Any] = {
            "overrides": overrides,
            "samples": samples,
            "most": most,
            "seeds": seeds,
            "seed": seed,
        }
        options |= {"frames": frames, "trust": trust, "progress": progress, "on_progress": on_progress}
        (mapped_run,) = map_models([model], concepts, recipes=[recipe], out=out, **options, **computing, **processes)
        return read_planned_maps(mapped_run.plan)
    if processes != {"executor": "local", "workers": None, "threads": None, "gpus": 0}:
        raise RunError(f"{', '.join(processes)} are for run directories: give out='runs/NAME', too.")
    require_at_least(0, frames=frames)
    require_at_least(1, most=most)
    concepts = concept_list(concepts)
    numbers, settings = seed_range(seed, seeds), resolve(recipe, overrides)
    with show_progress(progress, "map") as display:
        classifier = to_classifier(model, trust=trust, concepts=concepts)
        pool = to_pool(samples, classifier)
        doubt = show_doubts(display, classifier, pool, str(device))
        origin = MapOrigin(classifier=classifier, pool=pool, recipe=settings, range_doubt=doubt, **computing)
        resolved_concepts = resolve_units(to_concepts(concepts, classifier), classifier, pool, most, str(device))
        return map_in_memory(origin, resolved_concepts, numbers, frames, display.follow(on_progress))


@checked
def map_models(  # noqa: D417  (the other options are those of map_concepts)
    models: "Model | Iterable[Model]",
    concepts: "Concepts | None" = None,
    *,
    confused: int = 0,
    out: "str | Path | None" = None,
    recipes: "str | Path | Recipe | Sequence[str | Path | Recipe]" = (DEFAULT_RECIPE,),
    overrides: "Mapping[str, Any] | None" = None,
    samples: Samples = None,
    most: int = DEFAULT_CHANNELS,
    seeds: int = 1,
    seed: int = 0,
    device: Device = "auto",
    precision: str = "auto",
    compile: str = "auto",  # noqa: A002  (the option's name)
    frames: int = 0,
    executor: str = "local",
    workers: "int | None" = None,
    threads: "int | None" = None,
    gpus: float = 0.0,
    trust: bool = False,
    dry_run: bool = False,
    progress: "bool | ProgressDisplay" = True,
    on_progress: "Callable[[Progress], None] | None" = None,
    on_map: "Callable[[MapSummary], None] | None" = None,
) -> list[MappedRun]:
    """Make maps of classifiers with recipes, in a run directory for each pair of them.

    Options that are not described here are those of :func:`map_concepts`, for every pair; ``executor``, ``workers``,
    ``threads`` and ``gpus`` can be given without ``out``, too.

    Args:
        models: A spec or a classifier, or several.
        concepts: As :func:`map_concepts` takes them; ``None`` for all classes of each classifier.
        confused: Map, in place of ``concepts``, which are left out then, the contrasts of so many pairs of classes, both
            ways: those that each classifier confuses most on labelled ``samples``.
        out: The run directory, or the folder of several; by default below ``runs``, by model and recipe.
        recipes: A name, a TOML file or a recipe, or several.
        dry_run: Only estimate what is left to do.
        on_map: Called for every map.

    Raises:
        JobsError: maps could not be made; the others are finished.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    device = str(device)
    require_at_least(0, confused=confused, frames=frames, gpus=gpus)
    require_at_least(1, most=most, workers=workers, threads=threads)
    with show_progress(progress, "map") as display:
        if gpus == 0 or executor == "local":
            pick_device(device)  # before any work
        workforce = pick_executor(executor, workers=workers, threads=threads, gpus=gpus)
        settings = list(dict.fromkeys(resolve(recipe, overrides) for recipe in as_list(recipes)))
        display.update("load the model and the samples")
        options: dict[str, Any] = {"trust": trust, "device": device, "precision": precision, "compile": compile}
        options |= {"confused": confused, "most": most, "on_note": display.print, "frames": frames}
        plans = plan_all(as_list(models), concepts, settings, samples, seed_range(seed, seeds), out, **options)
        if not plans:
            raise ArgumentError("nothing is mapped without a model and a recipe: give one of each, or more.")
        display.title = plans[0].classifier.name if len(plans) == 1 else f"{len(plans)} runs"
        doubts = {
            number: show_doubts(display, one.classifier, one.pool, "auto" if gpus else device)
            for number, one in {id(one.classifier): one for one in plans}.items()
        }
        plans = [replace(one, range_doubt=doubts[id(one.classifier)]) for one in plans]
        if dry_run:
            return [MappedRun(one, estimate=estimate(one)) for one in plans]
        return make_runs(plans, executor=workforce, on_progress=display.follow(on_progress), on_map=on_map)
