"""``score``, ``check`` and ``compare``: what maps are worth."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from phosphene.arguments import Device, Model, Samples, as_list, require_at_least
from phosphene.checked import checked
from phosphene.checks import Finding
from phosphene.errors import RunError
from phosphene.metrics.range_check import range_doubt
from phosphene.metrics.scorecard import Scores
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.reports import write_report
from phosphene.reports.compare import write_comparison
from phosphene.runs.paths import refuse_own_file
from phosphene.runs.whole import to_run
from phosphene.workflows.check import Findings, plan_checks, run_checks
from phosphene.workflows.compare import Comparison, compare_runs
from phosphene.workflows.concept_maps import Run
from phosphene.workflows.estimate import estimate_checks
from phosphene.workflows.judged_maps import judged_maps
from phosphene.workflows.progress import show_notes
from phosphene.workflows.score import score_sources


@checked
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
        maps: Maps, or a run, or several of either: lists of maps, runs. All the maps of a run are taken for the run: its
            ``scores.json`` and report are written. Of a part of a run, of the finished maps of one that is not finished,
            and of maps in memory, nothing is.
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
        One score per target, and per run or list of maps: a list that shows itself in a notebook.

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
    options: dict[str, Any] = {"samples": samples, "device": str(device), "trust": trust, "on_progress": on_progress}
    with show_progress(progress, "score") as display:
        judged = judged_maps(maps)
        scores = score_sources(judged, targets, display=display, **options)
        for one in judged:
            if one.whole_run is not None:
                write_report(one.whole_run)
        return scores


@checked
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
            are checked, and nothing is written. The same holds for the finished maps of a run that is not finished.
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
        plan = plan_checks(maps, model=model, trust=trust, **options)
        display.warn(plan.judged.doubt)
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


@checked
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
        RunError: one of them is not a run, or has no finished maps; or ``out`` does not end with ``.html``, or is
            a run's own file.
        ConceptError: they have no class in common.
    """
    if out is not None and Path(out).suffix.lower() != ".html":  # a run's own files, say
        raise RunError(
            f"the page of a comparison is an HTML file, and {out} is none: give a name that ends with .html."
        )
    if out is not None:
        refuse_own_file(Path(out))
    comparison = compare_runs(to_run(a), to_run(b))
    if out is not None:
        write_comparison(comparison, Path(out))
    return comparison
