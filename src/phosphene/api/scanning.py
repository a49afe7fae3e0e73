"""``scan``, ``scan_run`` and ``open_scan``: whether a classifier has a backdoor, in memory or as a run directory."""

from collections.abc import Callable, Iterable
from pathlib import Path

from phosphene.arguments import Device, Model, Samples, seed_range, to_classifier, to_classifiers, to_pool
from phosphene.backdoor.scan import ALPHA, ScanProgress
from phosphene.backdoor.scan import scan as scan_classifier
from phosphene.backdoor.verdict import Verdict
from phosphene.checked import checked
from phosphene.engine.device import pick_device
from phosphene.executors.base import MapOrigin
from phosphene.metrics.range_check import range_doubt
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.recipe import Recipe, resolve
from phosphene.runs.scans import SCAN
from phosphene.workflows.concept_maps import Run, to_run
from phosphene.workflows.progress import show_notes
from phosphene.workflows.scan import RECIPE, ScannedRun, estimate, make_scan, plan_scan


@checked(out="phosphene.scan_run writes a run directory.")
def scan(
    model: Model,
    *,
    samples: Samples = None,
    reference: "Model | Iterable[Model]" = (),
    alpha: float = ALPHA,
    pairs: bool = False,
    seed: int = 0,
    device: Device = "auto",
    precision: str = "auto",
    range_check: bool = True,
    trust: bool = False,
    progress: "bool | ProgressDisplay" = True,
    on_progress: "Callable[[ScanProgress], None] | None" = None,
) -> Verdict:
    """Scan a classifier for a backdoor and return the Verdict; nothing is written (:func:`scan_run` writes a run).

    Args:
        model: A spec or a classifier.
        samples: Samples of the network's kind, as :func:`map_concepts` takes them; natural ones show most. By default those
            that need no data.
        reference: Clean networks of the same kind, which join the null model.
        alpha: Share of clean networks that may be called suspicious, in (0, 1).
        pairs: Search every pair of a source class and a target, however many there are.
        seed: Random seed for samples and starting points.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        precision: ``auto`` (tf32 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        range_check: Warn if the network makes little sense of its declared input.
        trust: Allow code that came with a model to run.
        progress: Whether progress is shown.
        on_progress: Called as the scan goes on.

    Raises:
        CardError: the network predicts the same class for every sample.
        NumericError: it gives NaN or infinity.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    device = str(device)
    seed_range(seed)
    with show_progress(progress, "scan") as display:
        classifier = to_classifier(model, trust=trust)
        pool = to_pool(samples, classifier)
        display.title = f"scan {classifier.name}"
        show_notes(display, classifier, pool)
        if range_check:
            display.warn(range_doubt(classifier, pool, device=device))
        return scan_classifier(
            classifier,
            pool,
            reference=to_classifiers(reference, trust=trust),
            alpha=alpha,
            pairs=pairs,
            seed=seed,
            device=device,
            precision=precision,
            on_progress=display.follow(on_progress),
        )


@checked()
def scan_run(
    model: Model,
    *,
    out: "str | Path | None" = None,
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
) -> ScannedRun:
    """Scan a classifier for a backdoor, map the suspects, and write a run with a report.

    A run that holds this scan already is not scanned again.

    Args:
        model: A spec or a classifier.
        out: The run directory; by default ``runs/<model>-scan``. The same scan is made once.
        samples: Samples of the network's kind; see :func:`scan`.
        reference: Clean networks of the same kind; see :func:`scan`.
        alpha: Share of clean networks that may be called suspicious, in (0, 1).
        pairs: Search every pair of a source class and a target, however many there are.
        seed: Random seed for samples and starting points.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        precision: ``auto`` (tf32 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        range_check: Warn if the network makes little sense of its declared input.
        mapped: Map the suspects beside their candidate triggers.
        recipe: Recipe for the maps of suspects.
        trust: Allow code that came with a model to run.
        dry_run: Only estimate the cost.
        progress: Whether progress is shown.

    Raises:
        RunError: ``out`` holds something else, or cannot be written.
        PhospheneError: as :func:`scan`.
    """
    device = str(device)
    seed_range(seed)
    with show_progress(progress, "scan") as display:
        pick_device(device)  # before any work
        classifier = to_classifier(model, trust=trust)
        pool = to_pool(samples, classifier)
        references = to_classifiers(reference, trust=trust)
        origin = MapOrigin(classifier=classifier, pool=pool, recipe=resolve(recipe), device=device, precision=precision)
        plan = plan_scan(origin, out=out, reference=references, alpha=alpha, pairs=pairs, seed=seed)
        display.title = f"scan {classifier.name}"
        show_notes(display, classifier, pool)
        if range_check and plan.cached is None:
            display.warn(range_doubt(classifier, pool, device=device))
        if dry_run:
            return ScannedRun(plan.run, cached=plan.cached is not None, plan=plan, seconds=estimate(plan))
        return make_scan(plan, display, mapped=mapped)


@checked()
def open_scan(run: Run) -> "ScannedRun | None":
    """Return a finished run's scan as :func:`scan_run` returned it; ``None`` if it has none.

    Nothing is scanned again, and no network is loaded.

    Args:
        run: A run, or the path of one. A run below it, in its folder ``scans``, is opened by its own path.

    Raises:
        RunError: this is not a run directory, or its scan.json is damaged or of another version.
    """
    run_directory = to_run(run)
    document, report = SCAN.read(run_directory.path), run_directory.path / "report.html"
    if document is None:
        return None
    return ScannedRun(run_directory, document, str(report) if report.is_file() else None, cached=True)
