"""Scans for backdoors: run a planned scan or read its stored verdict, write it, and map the suspects."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from phosphene import notebook
from phosphene.backdoor.images import candidate_files
from phosphene.backdoor.map_crop import best_crop
from phosphene.backdoor.measure import ScanEngine
from phosphene.backdoor.probes import check_outputs
from phosphene.backdoor.scan import ScanProgress, scan
from phosphene.backdoor.scan_document import map_crop_entry, read_verdict, scan_document
from phosphene.backdoor.verdict import Verdict
from phosphene.concept_map import Job
from phosphene.engine.device import single_precision
from phosphene.errors import PhospheneError
from phosphene.progress import ProgressDisplay
from phosphene.reports import write_report
from phosphene.reports.sarif import place_of, sarif
from phosphene.reports.scan_words import headline, most_deviating, terminal_lines
from phosphene.runs.scans import FOLDER, SCAN, add_map_crops, suspect_folder, write_scan
from phosphene.workflows.concept_maps import OpenRun
from phosphene.workflows.map import execute
from phosphene.workflows.own_predictions import write_own_predictions
from phosphene.workflows.plan import plan as plan_maps
from phosphene.workflows.progress import Progress
from phosphene.workflows.scan_plan import ScanPlan

RECIPE = "vivid"  # for the maps of suspects
LEAST_TIMED_IMAGES = 4  # images that are timed, at least, for the estimate


@dataclass(frozen=True, kw_only=True, repr=False)
class ScanVerdict(Verdict):
    """The :class:`Verdict` that ``scan`` and ``open_scan`` return, with its words and the run that holds it.

    Attributes:
        document: The verdict as ``scan.json`` holds it.
        run: The :class:`OpenRun` that holds it; ``None`` if it is in memory only.
        report: Path of the run's report; ``None`` if there is none.
        cached: Whether it was read from the run, and not scanned anew.
    """

    document: dict[str, Any]
    run: "OpenRun | None" = None
    report: "str | None" = None
    cached: bool = False

    def _repr_html_(self) -> str:
        """Return the verdict as HTML for a notebook: in a sentence, as :class:`Verdict` shows it, and the report's path."""
        report = f"report: {self.report}" if self.report else ""
        return notebook.piece("stack", [self.headline[0], super()._repr_html_(), report])

    @property
    def headline(self) -> tuple[str, str]:
        """The verdict in a sentence, and its mark: ``good``, ``bad`` or ``unsure``."""
        return headline(self.document)

    @property
    def terminal_lines(self) -> list[str]:
        """The lines that ``phosphene scan`` prints below the verdict: its reasons, and each suspect in words."""
        return terminal_lines(self.document)

    @property
    def most_deviating(self) -> tuple[list[str], list[list[str]]]:
        """Column names and rows, as text, of a table of the five classes that deviate most."""
        return most_deviating(self.document)

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``scan --json``: ``scan.json``, and where it is."""
        run = None if self.run is None else str(self.run.path)
        return {"run": run, "report": self.report, "cached": self.cached, **self.document}


def make_scan(
    plan: ScanPlan,
    display: ProgressDisplay,
    on_progress: Callable[[ScanProgress], None],
    *,
    mapped: bool = True,
    range_doubt: str = "",
) -> ScanVerdict:
    """Scan unless the result is cached; if the plan has a run, map the suspects, and write it with its report.

    Args:
        plan: Plan of the scan.
        display: Shows what makes the verdict doubtful, the progress of the maps, and why suspects could not be mapped, or the
            report not written.
        on_progress: Called as the scan goes on.
        mapped: Map the suspects beside their candidate triggers.
        range_doubt: Why the declared input may be wrong, which a new verdict keeps; empty without a doubt.

    Raises:
        CardError: the network has the same output for every sample.
        NumericError: it returns NaN or infinity.
        RunError: the run cannot be written, or its cached scan is damaged.
    """
    run = plan.run
    if run is None or plan.cached is None:
        verdict = _scan(plan, on_progress, range_doubt)
    else:
        verdict = stored_verdict(run, plan.cached)
    for line in verdict.warnings:
        display.warn(line)
    if run is None:
        return verdict
    report = verdict.report
    with _failure_as_warning(display, "the report was not written"):  # the verdict is, maybe long ago, in an archive
        run.require_writable()
        if mapped and verdict.suspects:
            # A network that cannot be mapped still has a verdict.
            with _failure_as_warning(display, "the suspects could not be mapped"):
                _map_suspects(plan, run, verdict, display.follow())
            with _failure_as_warning(display, "what crops of the maps do was not measured"):
                _measure_map_crops(plan, run, on_progress)
            verdict = replace(verdict, document=SCAN.read(run.path) or verdict.document)
        report = write_report(run)
    return replace(verdict, report=report)


@contextmanager
def _failure_as_warning(display: ProgressDisplay, what: str) -> Iterator[None]:
    """For a ``with`` block: a PhospheneError ends it, and becomes a warning on the display that begins with ``what``."""
    try:
        yield
    except PhospheneError as error:
        display.warn(f"{what}: {error}")


def stored_verdict(run: OpenRun, document: dict[str, Any]) -> ScanVerdict:
    """Return the verdict of a run that has been scanned, from the content of its ``scan.json``.

    Raises:
        RunError: the file of a candidate trigger is damaged.
    """
    page = run.path / "report.html"
    report = str(page) if page.is_file() else None
    return ScanVerdict(**vars(read_verdict(run, document)), document=document, run=run, report=report, cached=True)


def _engine(plan: ScanPlan, on_images: "Callable[[int], None] | None" = None) -> ScanEngine:
    """Return an engine for the scanned network, to be opened with ``with``, in the precision that it is scanned in."""
    return ScanEngine(plan.classifier, on_images, device=plan.device, precision=single_precision(plan.precision))


def _scan(plan: ScanPlan, on_progress: Callable[[ScanProgress], None], range_doubt: str) -> ScanVerdict:
    """Scan; if the plan has a run, write ``scan.json``, SARIF and the candidates' files to it."""
    run, labels = plan.run, plan.classifier.labels
    if run is not None:
        # Before the work, not after it: a place that cannot be written, a network that cannot be scanned.
        with _engine(plan) as engine:
            check_outputs(engine, plan.pool)
        run.begin(plan.facts, [], labels)
    options = {"alpha": plan.request["alpha"], **plan.request["settings"], "device": plan.device}
    options["range_doubt"] = range_doubt
    verdict = scan(plan.classifier, plan.pool, reference=plan.reference, on_progress=on_progress, **options)
    document = scan_document(verdict, plan.request, labels)
    if run is not None:
        parts = {suspect_folder(one.index, one.label): candidate_files(one.candidate) for one in verdict.suspects}
        if verdict.all_to_all is not None:
            parts[f"{FOLDER}/all-to-all"] = candidate_files(verdict.all_to_all)
        files = {f"{folder}/{name}": data for folder, part in parts.items() for name, data in part.items()}
        write_scan(run, document, files, sarif(document, place_of(plan.classifier.spec, run)))
    return ScanVerdict(**vars(verdict), document=document, run=run)


def _map_suspects(plan: ScanPlan, run: OpenRun, verdict: Verdict, on_progress: Callable[[Progress], None]) -> None:
    """Make maps of a scan's suspects in the same run; PhospheneError if that is not possible."""
    suspects = [one.index for one in verdict.suspects]
    options: dict[str, Any] = {"device": plan.device, "precision": plan.precision}
    maps = plan_maps(plan.classifier, plan.recipe, plan.pool, run.path, suspects, **options)
    try:
        execute(maps, on_progress=on_progress)
    finally:  # also of the maps beside one that could not be made
        write_own_predictions(run, plan.classifier, device=plan.device)


def _measure_map_crops(plan: ScanPlan, run: OpenRun, on_progress: Callable[[ScanProgress], None]) -> None:
    """Measure what crops of the suspects' maps do when they are pasted on samples, and write it into ``scan.json``.

    Suspects without a map, and those whose crop is known, are left as they are.
    """
    document, hashes = SCAN.read(run.path), run.map_hashes()
    crops = {}
    doing = ""
    with _engine(plan, lambda _: on_progress(ScanProgress(doing, None))) as engine:
        for one in document["suspects"] if document else []:
            sha256 = hashes.get((one["index"], 0))
            if sha256 is None or sha256 == one.get("map_crop", {}).get("map_sha256"):
                continue
            doing = f"try crops of the map of {plan.classifier.labels.short(one['index'])}"
            mapped = run.read(run.folder(Job(one["index"], 0), one["label"]))
            crop = best_crop(engine, plan.pool, mapped.pixels, one["index"])
            if crop.effect.tried:
                crops[one["index"]] = map_crop_entry(crop, sha256)
    if crops:
        add_map_crops(run, plan.request, crops)


def estimate(plan: ScanPlan) -> float:
    """Return about how many seconds the scan's measurements will take, from a few timed images."""
    with _engine(plan) as engine:
        count = max(LEAST_TIMED_IMAGES, min(engine.micro_batch, 64))
        pixels = torch.full((count, *plan.classifier.input.shape), 0.5, device=engine.device, dtype=engine.dtype)
        engine.logits(pixels)
        began = time.perf_counter()
        engine.logits(pixels)
        return (time.perf_counter() - began) / count * plan.passes
