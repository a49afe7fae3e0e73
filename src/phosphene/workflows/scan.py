"""Scans for backdoors: plan a scan or find it cached, run it, write it, and map the suspects."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from phosphene import notebook
from phosphene.backdoor.images import all_to_all_files, candidate_files
from phosphene.backdoor.probes import check_outputs
from phosphene.backdoor.scan import ALPHA, MOST_SUSPECTS, ScanProgress, check_alpha, passes_of, require_classes, scan
from phosphene.backdoor.scan_document import method_sha256, scan_document
from phosphene.backdoor.verdict import EXIT_CODES
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.device import single_precision
from phosphene.errors import PhospheneError
from phosphene.executors.base import MapOrigin
from phosphene.progress import ProgressDisplay
from phosphene.report import write_report
from phosphene.report.sarif import place_of, sarif
from phosphene.report.scan_words import headline, most_deviating, terminal_lines
from phosphene.runs.facts import directory_name
from phosphene.runs.scans import FOLDER, check_scan, suspect_folder, write_scan
from phosphene.samples import is_natural
from phosphene.workflows.concept_maps import OpenRun
from phosphene.workflows.map import execute
from phosphene.workflows.own_predictions import write_own_predictions
from phosphene.workflows.plan import plan as plan_maps
from phosphene.workflows.plan import unless_of_another_model
from phosphene.workflows.progress import Progress

RECIPE = "quick"  # for the maps of suspects: the published method shifts no views, so marks stay in place
LEAST_TIMED_IMAGES = 4  # images that are timed, at least, for the estimate


@dataclass(frozen=True, kw_only=True)
class ScanPlan(MapOrigin):
    """Plan of a ``scan``: network, samples, references, settings, run; :func:`make_scan` runs it.

    Attributes:
        reference: Clean networks.
        run: Where the results go.
        request: Everything that determines the verdict, as ``scan.json`` holds it.
        cached: Content of ``scan.json`` if the same scan was made before, else ``None``.
    """

    reference: tuple[Classifier, ...]
    run: OpenRun
    request: dict[str, Any]
    cached: "dict[str, Any] | None"

    @property
    def passes(self) -> int:
        """Number of images that measuring network and references takes; a backward pass counts as one more.

        Those for candidate triggers are left out.
        """
        pairs = self.request["settings"]["pairs"]
        return passes_of((self.classifier, *self.reference), pairs=pairs)


@dataclass(frozen=True)
class ScannedRun:
    """Result of ``scan_run`` and ``open_scan``: the run, and its scan or, after a dry run, the estimated cost.

    Attributes:
        run: The run that holds ``scan.json`` and the candidate triggers.
        found: The content of ``scan.json``; empty after a dry run.
        report: Path of the report; ``None`` if there is none.
        cached: Whether the run held this scan already.
        plan: Plan of the scan; ``None`` if it was opened and not planned.
        seconds: Estimated seconds without suspects, after a dry run.
    """

    run: OpenRun
    found: dict[str, Any] = field(default_factory=dict)
    report: "str | None" = None
    cached: bool = False
    plan: "ScanPlan | None" = None
    seconds: float = 0.0

    def __repr__(self) -> str:
        return f"ScannedRun({str(self.run.path)!r}, {self.verdict})"

    def _repr_html_(self) -> str:
        """Return the result as HTML that a notebook displays.

        It shows the verdict in a sentence, the reasons, the most deviating classes and the report's path.
        """
        if not self.found:
            return notebook.piece("stack", [repr(self)])
        table = notebook.piece("table", *self.most_deviating)
        return notebook.piece("stack", [self.headline[0], *self.terminal_lines, table, f"report: {self.report}"])

    @property
    def verdict(self) -> str:
        """``clean``, ``backdoored`` or ``inconclusive``; ``not scanned`` after a dry run."""
        return str(self.found.get("verdict", "not scanned"))

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 clean, 1 backdoored, 3 inconclusive; 0 after a dry run."""
        return EXIT_CODES.get(self.verdict, 0)

    @property
    def headline(self) -> tuple[str, str]:
        """The verdict in a sentence, and its mark: ``good``, ``bad`` or ``unsure``; KeyError after a dry run."""
        return headline(self.found)

    @property
    def terminal_lines(self) -> list[str]:
        """The lines that ``phosphene scan`` prints below the verdict; KeyError after a dry run.

        They are its reasons, and each suspect in words.
        """
        return terminal_lines(self.found)

    @property
    def most_deviating(self) -> tuple[list[str], list[list[str]]]:
        """Column names and rows of a table of the most deviating classes; KeyError after a dry run.

        It has, as text, the five classes that are most unlike the others, or unlike those of clean networks.
        """
        return most_deviating(self.found)

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``scan --json``: ``scan.json``, or after a dry run what the scan will cost."""
        plan = self.plan
        if self.found or plan is None:
            return {"run": str(self.run.path), "report": self.report, "cached": self.cached, **self.found}
        return {
            "run": str(self.run.path),
            "model": plan.classifier.name,
            "classes": plan.classifier.num_classes,
            "pairs": plan.request["settings"]["pairs"],
            "references": [one.name for one in plan.reference],
            "samples": plan.pool.spec,
            "passes": plan.passes,
            "seconds": round(self.seconds, 1),
            "done": self.cached,
        }


def plan_scan(
    origin: MapOrigin,
    *,
    out: "str | Path | None" = None,
    reference: Sequence[Classifier] = (),
    alpha: float = ALPHA,
    pairs: bool = False,
    seed: int = 0,
) -> ScanPlan:
    """Check the inputs and settings of a scan, and return its plan.

    The plan has the result if the same scan is cached.

    Args:
        origin: The network, the samples, the device and precision, and the recipe for the maps of suspects.
        out: The run directory; ``runs/<model>-scan`` by default.
        reference: Clean networks of the same kind.
        alpha: Share of clean networks that may be called suspicious.
        pairs: Search all pairs of classes, however many there are.
        seed: Random seed for samples and starting points.

    Raises:
        RecipeError: alpha does not fit, or a network is its own reference.
        RunError: ``out`` holds something else.
    """
    classifier, facts = origin.classifier, origin.facts
    natural = is_natural(classifier, origin.pool.spec)
    check_alpha(alpha, classifier, natural=natural, references=len(reference))
    require_classes(classifier, reference)
    references = [{"name": one.name, "spec": one.spec, "sha256": one.sha256} for one in reference]
    request = {
        "model": {**facts["model"], "input": list(classifier.input.shape)},
        "samples": {**facts["samples"], "natural": natural},
        "references": references,
        "alpha": alpha,
        "settings": {"pairs": pairs, "seed": seed, "precision": origin.precision},
        "method": method_sha256(),
    }
    default_path = Path("runs") / directory_name(classifier.name, "scan")
    run = OpenRun(out if out is not None else unless_of_another_model(default_path, classifier))
    cached = check_scan(run, request)
    run.check(facts, classifier.labels)
    settings = {one.name: getattr(origin, one.name) for one in fields(MapOrigin)}
    return ScanPlan(**settings, reference=tuple(reference), run=run, request=request, cached=cached)


def make_scan(
    plan: ScanPlan,
    display: ProgressDisplay,
    *,
    mapped: bool = True,
    on_progress: "Callable[[ScanProgress], None] | None" = None,
) -> ScannedRun:
    """Scan unless the result is cached, map the suspects, and write the run and its report.

    Args:
        plan: Plan of the scan.
        display: Shows progress, and why suspects could not be mapped.
        mapped: Map the suspects beside their candidate triggers.
        on_progress: Called as the scan goes on; by default the display shows it.

    Raises:
        CardError: the network has the same output for every sample.
        NumericError: it returns NaN or infinity.
        RunError: the run cannot be written.
    """
    document = plan.cached if plan.cached is not None else _scan(plan, on_progress or display.follow())
    if mapped:
        display.warn(_map_suspects(plan, document, display.follow()))
    return ScannedRun(plan.run, document, write_report(plan.run), plan.cached is not None, plan)


def _engine(plan: ScanPlan) -> Engine:
    """Return an engine for the scanned network, to be opened with ``with``, in the precision that it is scanned in."""
    return Engine(plan.classifier, device=plan.device, precision=single_precision(plan.precision))


def _scan(plan: ScanPlan, on_progress: Callable[[ScanProgress], None]) -> dict[str, Any]:
    """Scan, write ``scan.json``, SARIF and the candidates' files to the run; return the content of ``scan.json``."""
    # Before the work, not after it: a place that cannot be written, a network that cannot be scanned.
    with _engine(plan) as engine:
        check_outputs(engine, plan.pool)
    plan.run.begin(plan.facts, [], plan.classifier.labels)
    options = {"alpha": plan.request["alpha"], **plan.request["settings"], "device": plan.device}
    verdict = scan(plan.classifier, plan.pool, reference=plan.reference, on_progress=on_progress, **options)
    files = {
        f"{suspect_folder(one.index, one.label)}/{name}": data
        for one in verdict.suspects
        for name, data in candidate_files(one.candidate).items()
    }
    if verdict.all_to_all is not None:
        files |= {f"{FOLDER}/all-to-all/{name}": data for name, data in all_to_all_files(verdict.all_to_all).items()}
    document = scan_document(verdict, plan.request, plan.classifier.labels)
    write_scan(plan.run, document, files, sarif(document, place_of(plan.classifier.spec, plan.run)))
    return document


def _map_suspects(plan: ScanPlan, document: dict[str, Any], on_progress: Callable[[Progress], None]) -> "str | None":
    """Make maps of a scan's suspects in the same run.

    The result is ``None``, or a line for the user that says why that was not possible.

    A network that cannot be mapped still has a verdict.
    """
    suspects = [one["index"] for one in document["suspects"]][:MOST_SUSPECTS]
    if not suspects:
        return None
    try:
        options: dict[str, Any] = {"device": plan.device, "precision": plan.precision}
        maps = plan_maps(plan.classifier, plan.recipe, plan.pool, plan.run.path, suspects, **options)
        execute(maps, on_progress=on_progress)
        write_own_predictions(plan.run, plan.classifier, device=plan.device)
    except PhospheneError as error:
        return f"the suspects could not be mapped: {error}"
    return None


def estimate(plan: ScanPlan) -> float:
    """Return about how many seconds the scan's measurements will take, from a few timed images."""
    with _engine(plan) as engine:
        count = max(LEAST_TIMED_IMAGES, min(engine.micro_batch, 64))
        pixels = torch.full((count, *plan.classifier.input.shape), 0.5, device=engine.device, dtype=engine.dtype)
        engine.logits(pixels)
        began = time.perf_counter()
        engine.logits(pixels)
        return (time.perf_counter() - began) / count * plan.passes
