"""``score``, ``check`` and ``compare``: what maps are worth."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from phosphene.arguments import Device, Model, Samples, as_list, require_at_least, to_classifiers, to_pool_of_shape
from phosphene.checked import checked
from phosphene.checks import Finding
from phosphene.errors import ConceptError, RunError
from phosphene.metrics.matching import classes_of, overlap_note, units_note
from phosphene.metrics.range_check import range_doubt
from phosphene.metrics.scorecard import Scores
from phosphene.metrics.scores import score_maps
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.reports import write_report
from phosphene.reports.compare import write_comparison
from phosphene.runs.whole import one_or_several, run_with, to_run
from phosphene.workflows.check import Findings, plan_checks, plan_checks_in_memory, run_checks
from phosphene.workflows.compare import Comparison, compare_runs
from phosphene.workflows.concept_maps import ConceptMaps, Run, as_maps
from phosphene.workflows.estimate import estimate_checks
from phosphene.workflows.progress import show_notes
from phosphene.workflows.run_origin import model_of_run, samples_of_run
from phosphene.workflows.score import refuse_unused_samples, score_runs


@checked()
def score(
    maps: "Run | Iterable[Run]",
    targets: "Model | Iterable[Model]" = (),
    *,
    samples: Samples = None,
    device: Device = "auto",
    trust: bool = False,
    progress: bool | ProgressDisplay = True,
    on_progress: "Callable[[int, int, str], None] | None" = None,
) -> Scores[Any]:
    """Score how target classifiers (by default the source) classify maps or runs.

    Args:
        maps: Maps, or a run or several of them. All the maps of a run are taken for the run: its ``scores.json`` and report
            are written. Of a part of a run, and of maps in memory, nothing is.
        targets: The classifiers that are to recognise them; by default the model that made them, or those of the runs.
            Classes are matched by label, and images are resized to each target's input.
        samples: Of maps of a regression's outputs, the samples over which the targets' percentiles are. By default
            those that the maps were made from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        trust: Allow code that came with a target to run.
        progress: Whether progress is shown.
        on_progress: Called before every score with the number of scores so far, that of all, and the target's
            name; of several runs, with whose maps it classifies, such as ``shapes-plain on maps by shapes (vivid)``.

    Returns:
        One score per target, and run: a list that shows itself in a notebook.

    Raises:
        ConceptError: there are no maps, all are of units, or a target lacks one of the concepts.
        PhospheneError: an argument does not fit; the message names the fix.

    Example:
        >>> import phosphene as ph
        >>> few = {"steps": 2, "refine_steps": 1}
        >>> maps = ph.map_concepts("demo:shapes", ["star", "heart"], recipe="quick", overrides=few, progress=False)
        >>> ph.score(maps, "demo:shapes-plain", progress=False)[0].maps
        2
    """
    device, items, targets = str(device), one_or_several(maps), as_list(targets)
    with show_progress(progress, "score") as display:

        def show(number: int, total: int, name: str) -> None:
            display.update(f"score {number + 1} of {total}: {name}", number / total)
            if on_progress is not None:
                on_progress(number, total, name)

        options: dict[str, Any] = {"samples": samples, "device": device, "trust": trust, "on_progress": show}
        own_maps = as_maps(items)
        if own_maps is not None:
            if own_maps.run is None:
                return _score_maps(own_maps, targets, on_warning=display.warn, **options)
            items, origin = [own_maps.run], own_maps.origin
            if origin is not None and not targets:
                origin.refuse_changed_network()
                targets = [origin.classifier]
            if origin is not None and samples is None and any(one.concept.is_output for one in own_maps):
                options["samples"] = origin.pool
        options |= {"on_warning": display.warn, "on_note": display.note}
        run_scores = score_runs([to_run(one) for one in items], targets, **options)
        for path in dict.fromkeys(one.run for one in run_scores):
            write_report(path)
        return run_scores


def _score_maps(
    maps: ConceptMaps,
    targets: Sequence[Model],
    *,
    samples: Samples,
    device: str,
    trust: bool,
    on_progress: Callable[[int, int, str], None],
    on_warning: "Callable[[str | None], None]",
) -> Scores[Any]:
    """Score maps that are in memory or a part of a run, and write nothing; arguments are those of :func:`score`."""
    if not maps:
        raise ConceptError("there are no maps to score.")
    scored_maps = [one for one in maps if not one.concept.is_inner_unit]
    if not scored_maps:
        raise ConceptError("these are maps of units alone, which only their network has: ph.check judges them.")
    concepts = [one.concept for one in scored_maps]
    classifiers = to_classifiers(targets, trust=trust, classes=list(classes_of(concepts).values()))
    origin = maps.origin
    run = run_with(maps) if origin is None else None
    facts = {} if run is None else run.facts()
    if not classifiers and run is not None:
        classifiers = [model_of_run(run, facts, trust=trust, option="--target")]
    elif not classifiers:
        origin = maps.require_origin(", or name a target to score them on")
        origin.refuse_changed_network()
        classifiers = [origin.classifier]
    refuse_unused_samples(samples, concepts)
    on_warning(overlap_note(concepts))
    on_warning(units_note(len(maps) - len(scored_maps)))
    pool = origin.pool if origin is not None and samples is None else None
    if pool is None and any(concept.is_output for concept in concepts):
        channels, height, width = scored_maps[0].nu.shape
        if run is not None:
            pool = samples_of_run(facts, samples, (channels, height, width))
        elif samples is not None:
            pool = to_pool_of_shape(samples, (channels, height, width))
    name = facts["model"]["name"] if facts else "source" if origin is None else origin.classifier.name
    scores = Scores[Any]()
    for number, one in enumerate(classifiers):
        on_progress(number, len(classifiers), one.name)
        scores.append(score_maps(scored_maps, concepts, one, samples=pool, source=name, device=device)[0])
    return scores


@checked()
def check(
    maps: Run,
    *,
    model: "Model | None" = None,
    only: "str | Sequence[str]" = (),
    most: int = 4,
    samples: Samples = None,
    device: Device = "auto",
    trust: bool = False,
    dry_run: bool = False,
    progress: bool | ProgressDisplay = True,
    on_finding: "Callable[[Finding], None] | None" = None,
) -> Findings:
    """Run sanity checks of maps and return the findings.

    They tell whether maps show what the network has learned, or only what the method gives for any network: maps are
    made again with their own recipe, with the network's weights randomised, from other seeds, from other samples. Of a
    run, each finding is written to its ``checks.json`` at once, and the report at the end.

    Args:
        maps: A run, or maps. All the maps of a run are taken for the run; of a part of it, and of maps in memory, these maps
            are checked, and nothing is written.
        model: The classifier that made a run's maps, or its spec, where the spec in ``run.json`` does not load it: a path
            from another folder, or a classifier that was made in Python.
        only: Names of checks; all by default.
        most: Most concepts to make maps of again.
        samples: Samples for these maps, as :func:`map_concepts` takes them; natural images show most. By default those of
            the maps; those of a run that were in memory have to be given again.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        trust: Allow code that came with the model to run.
        dry_run: Only plan: the list is empty, its ``plan`` says what would be checked, and its ``seconds`` about how long
            that takes, by a short measurement.
        progress: Whether progress is shown.
        on_finding: Called for every finding, also for cached ones.

    Raises:
        PhospheneError: a check does not exist, the run cannot be checked, or a library is missing.
    """
    require_at_least(1, most=most)
    options: dict[str, Any] = {"only": as_list(only), "most": most, "samples": samples, "device": str(device)}
    with show_progress(progress, "check") as display:
        own_maps = as_maps(maps)
        if own_maps is not None and own_maps.run is None:
            plan = plan_checks_in_memory(own_maps, model=model, trust=trust, **options)
        else:
            if own_maps is not None and own_maps.origin is not None:
                model = own_maps.origin.classifier if model is None else model
                options["samples"] = own_maps.origin.pool if samples is None else samples
            plan = plan_checks(to_run(own_maps or maps), model=model, trust=trust, **options)
        if plan.doubt:
            display.note(plan.doubt)
        if dry_run:
            display.update("time a few steps")
            return Findings(plan, estimate_checks(plan.context, plan.passes))
        classifier, pool = plan.context.classifier, plan.context.pool
        display.title = f"check {classifier.name}"
        show_notes(display, classifier, pool)
        if plan.run is not None:  # that of maps in memory was in doubt when they were made
            display.warn(range_doubt(classifier, pool, device=str(device)))
        return run_checks(plan, display, on_finding=on_finding)


@checked()
def compare(a: Run, b: Run, *, out: "str | Path | None" = None) -> Comparison:
    """Compare the maps of two runs class by class, and write the comparison as a page to ``out``.

    For two models, or one before and after fine-tuning. Of one network in two runs no class has changed.

    Args:
        a: A run, or all of its maps.
        b: Another one.
        out: A page with the images to write, ``.html``.

    Returns:
        The changes, the most changed class first: it shows itself in a notebook.

    Raises:
        RunError: one of them is not a run, or has no finished maps; or ``out`` does not end with ``.html``.
        ConceptError: they have no class in common.
    """
    if out is not None and Path(out).suffix.lower() != ".html":  # a run's own files, say
        raise RunError(
            f"the page of a comparison is an HTML file, and {out} is none: give a name that ends with .html."
        )
    comparison = compare_runs(to_run(a), to_run(b))
    if out is not None:
        write_comparison(comparison, Path(out))
    return comparison
