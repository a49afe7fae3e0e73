"""``scan`` and ``open_scan``: whether a classifier has a backdoor, in memory or as a run directory."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from phosphene.arguments import Device, Model, Samples, seed_range, to_classifier, to_classifiers, to_pool
from phosphene.backdoor.scan import ALPHA, MIN_CLASSES, ScanProgress
from phosphene.checked import checked
from phosphene.engine.device import pick_device
from phosphene.errors import RunError
from phosphene.executors.base import MapOrigin
from phosphene.formats import count
from phosphene.metrics.range_check import range_doubt
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.recipe import Recipe, resolve
from phosphene.runs.scans import SCAN
from phosphene.workflows.concept_maps import Run, open_run
from phosphene.workflows.progress import show_notes
from phosphene.workflows.scan import RECIPE, ScanVerdict, estimate, make_scan, stored_verdict
from phosphene.workflows.scan_plan import plan_scan


@checked
def scan(
    model: Model,
    *,
    out: "str | Path | bool | None" = None,
    samples: Samples = None,
    reference: "Model | Iterable[Model]" = (),
    alpha: float = ALPHA,
    pairs: bool = False,
    seed: int = 0,
    device: Device = "auto",
    precision: str = "auto",
    range_check: bool = True,
    mapped: bool = True,
    recipe: "str | Path | Recipe" = RECIPE,
    trust: bool = False,
    dry_run: bool = False,
    progress: "bool | ProgressDisplay" = True,
    on_progress: "Callable[[ScanProgress], None] | None" = None,
) -> "ScanVerdict | Any":  # Any is a ScanPlan, after a dry run: callers of a scan need not tell it from a verdict
    """Scan a classifier for a backdoor and return the verdict.

    Args:
        model: A spec or a classifier.
        out: A run directory to write, with a report and maps of the suspects, ``True`` for ``runs/<model>-scan``; by
            default the verdict stays in memory. A run that holds this scan already is not scanned again.
        samples: Samples of the network's kind, as :func:`map_concepts` takes them; natural ones show most. By default those
            that need no data.
        reference: Clean networks of the same kind, which join the null model; copies of one count once.
        alpha: Share of clean networks that may be called suspicious, in (0, 1).
        pairs: Search every pair of a source class and a target, however many there are.
        seed: Random seed for samples and starting points.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        precision: ``auto`` (tf32 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        range_check: Warn if the network makes little sense of its declared input; the verdict keeps the warning.
        mapped: With ``out``, map the suspects beside their candidate triggers.
        recipe: Recipe for the maps of suspects; of a scan that is stored without maps, another one may be given.
        trust: Allow code that came with a model to run.
        dry_run: Only plan: return the plan, whose ``seconds`` says about how long the scan takes without suspects.
        progress: Whether progress is shown.
        on_progress: Called as the scan goes on.

    Raises:
        CardError: the network predicts the same class for every sample.
        NumericError: it gives NaN or infinity.
        RunError: ``out`` holds something else, or cannot be written.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    device = str(device)
    seed_range(seed)
    if recipe != RECIPE and out in (None, False):
        raise RunError("recipe is for the maps of suspects, which a run directory holds: give out='runs/NAME', too.")
    with show_progress(progress, "scan") as display:
        pick_device(device)  # before any work
        classifier = to_classifier(model, trust=trust)
        pool = to_pool(samples, classifier)
        references = to_classifiers(reference, trust=trust)
        origin = MapOrigin(classifier=classifier, pool=pool, recipe=resolve(recipe), device=device, precision=precision)
        plan = plan_scan(origin, out=out, reference=references, alpha=alpha, pairs=pairs, seed=seed)
        display.title = f"scan {classifier.name}"
        show_notes(display, classifier, pool)
        if copies := len(references) - len(plan.reference):
            display.warn(
                f"{count(copies, 'reference')} not counted: copies of other references, with the same weights."
            )
        doubt = range_doubt(classifier, pool, device=device) if range_check and plan.cached is None else None
        display.warn(doubt)  # before the scan, which takes long
        if classifier.num_classes < MIN_CLASSES and not references:
            display.warn(
                f"{classifier.name} has {count(classifier.num_classes, 'class', 'classes')}, too few to compare with each other: without "
                "clean networks of the same kind as references, the scan cannot decide."
            )
        if dry_run:
            return replace(plan, seconds=estimate(plan))
        return make_scan(plan, display, display.follow(on_progress), mapped=mapped, range_doubt=doubt or "")


@checked
def open_scan(run: Run) -> ScanVerdict:
    """Return the verdict of a finished scan as :func:`scan` returned it.

    Nothing is scanned again, and no network is loaded. What a run does not hold is missing: the windows of pairs of
    classes, and the samples that candidate triggers are shown on.

    Args:
        run: A run, or the path of one. A run below it, in its folder ``scans``, is opened by its own path.

    Raises:
        RunError: this is not a run directory, or it has no scan, or one that is damaged or of another version.
    """
    opened = open_run(run)
    document = SCAN.read(opened.path)
    if document is None:
        raise RunError(f"{opened.path} has no scan: phosphene.scan(model, out={str(opened.path)!r}) makes one.")
    return stored_verdict(opened, document)
