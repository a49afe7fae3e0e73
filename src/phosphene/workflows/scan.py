"""Scans for backdoors as jobs: plan, find what is there already, scan, keep it, and map the suspects."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from phosphene.backdoor.measure import choose
from phosphene.backdoor.pictures import files_of, try_on
from phosphene.backdoor.record import entry, question
from phosphene.backdoor.sarif import sarif
from phosphene.backdoor.scan import ALPHA, MOST_SUSPECTS, scan
from phosphene.backdoor.search import Effort
from phosphene.backdoor.survey import Standing, see_that_it_answers, stage_passes, survey_passes
from phosphene.backdoor.verdict import EXIT_CODES, Verdict
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import PhospheneError, RecipeError
from phosphene.recipe import Recipe, resolve
from phosphene.runs import RunDirectory, RunFacts
from phosphene.runs.scan_cache import ScanCache
from phosphene.runs.scans import NAME, check_scan, suspect_folder, write_scan
from phosphene.samples import SamplePool
from phosphene.workflows.map import execute, write_own_predictions
from phosphene.workflows.plan import MOST_BYTES, plan
from phosphene.workflows.progress import Progress

RECIPE = "quick"  # of the suspects' maps: the published method, which moves nothing about, so marks keep their place
TRIAL = 4  # pictures by which the time is estimated


@dataclass(frozen=True)
class ScanPlan:
    """What a ``scan`` command comes to.

    Attributes:
        classifier: The network.
        pool: Samples.
        reference: Clean networks.
        run: Where the results go.
        recipe: Of the suspects' maps.
        asked: What determines the verdict: :func:`phosphene.backdoor.record.question`.
        effort: Of the searches.
        kept: The scan that is there already, as ``scan.json`` holds it.
    """

    classifier: Classifier
    pool: SamplePool
    reference: tuple[Classifier, ...]
    run: RunDirectory
    recipe: Recipe
    asked: dict[str, Any]
    effort: Effort
    kept: "dict[str, Any] | None"

    @property
    def families(self) -> tuple[str, ...]:
        """The families that are tried."""
        return tuple(self.asked["settings"]["families"])

    @property
    def passes(self) -> int:
        """Images that measuring sends through networks, a backward counted as one more; suspects come on top."""
        return sum(
            survey_passes(one.num_classes, self.families, self.effort) for one in (self.classifier, *self.reference)
        )


def plan_scan(
    classifier: Classifier,
    pool: SamplePool,
    *,
    out: "str | Path | None" = None,
    reference: Sequence[Classifier] = (),
    alpha: float = ALPHA,
    families: Sequence[str] = (),
    effort: "Effort | None" = None,
    seed: int = 0,
    precision: str = "auto",
    recipe: "str | Path | Recipe" = RECIPE,
) -> ScanPlan:
    """See that a scan can be made, and whether it is there already; no work is done.

    Args:
        classifier: The network.
        pool: Samples.
        out: The run directory; ``runs/<model>-scan`` by default.
        reference: Clean networks that set the null model.
        alpha: Share of clean networks that may be called suspicious.
        families: All by default, and of more than 64 classes those of pasted marks.
        effort: Of the searches.
        seed: Of draws and starts.
        precision: ``auto``, ``fp32`` or ``bf16``.
        recipe: Of the suspects' maps.

    Raises:
        RecipeError: alpha, a family or the recipe does not exist, or a network is its own reference.
        RunError: ``out`` holds something else.
    """
    if not 0 < alpha < 1:
        raise RecipeError(f"alpha is {alpha:g}; give a share of clean networks, above 0 and below 1.")
    names, settings = choose(families, classifier.num_classes), resolve(recipe)
    effort = effort or Effort.usual(classifier.input.shape)
    for one in reference:
        if one.sha256 == classifier.sha256:
            raise RecipeError(f"reference {one.name} has the very weights that are scanned: give other clean networks.")
    asked = question(
        classifier, pool, reference, alpha=alpha, families=names, effort=effort, seed=seed, precision=precision
    )
    run = RunDirectory(out if out is not None else default_scan(classifier))
    kept = check_scan(run, asked)
    run.check(RunFacts.of(classifier, settings, pool))
    return ScanPlan(classifier, pool, tuple(reference), run, settings, asked, effort, kept)


def default_scan(classifier: Classifier) -> Path:
    """Return where a scan goes when the user names no place: runs/<model>-scan."""
    name = re.sub(r"[^\w.-]+", "-", classifier.name).encode()[:MOST_BYTES].decode(errors="ignore").lstrip(".-")
    return Path("runs") / f"{name or sha256(classifier.name.encode()).hexdigest()[:8]}-scan"


def run_scan(
    todo: ScanPlan,
    *,
    device: str = "auto",
    watch: "Callable[[Standing, float, float | None], None] | None" = None,
) -> dict[str, Any]:
    """Scan, unless that has been done, and keep what was found; return what ``scan.json`` holds.

    Args:
        todo: What to do.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        watch: Called as the scan goes on, with the share that is done and the seconds to go where that is known.

    Raises:
        CardError: the network predicts the same class for every sample.
        NumericError: it answers with NaN or infinity.
        RunError: the run cannot be written.
    """
    cache = ScanCache(todo.run.path, todo.asked)
    if todo.kept is not None:
        cache.remove()  # of one that was killed after its verdict
        return todo.kept
    settings = todo.asked["settings"]
    tally = _Tally(todo, watch)
    # Said before the work, not after it: a place that cannot be written, and what the run is made from.
    facts = RunFacts.of(todo.classifier, todo.recipe, todo.pool, device, settings["precision"])
    with Engine(todo.classifier, device=device, precision=settings["precision"]) as engine:
        see_that_it_answers(engine, todo.pool)
    todo.run.begin(facts, [])
    verdict = scan(
        todo.classifier,
        samples=todo.pool,
        reference=todo.reference,
        alpha=todo.asked["alpha"],
        families=todo.families,
        effort=todo.effort,
        seed=settings["seed"],
        device=device,
        precision=settings["precision"],
        range_check=False,
        watch=None if watch is None else tally,
        keep=cache,
    )
    files, examples = _triggers(todo, verdict, device)
    found = entry(verdict, todo.asked, examples)
    write_scan(todo.run, found, files, sarif(found, _place(todo)))
    cache.remove()
    return found


def exit_code(found: dict[str, Any]) -> int:
    """Return the command's exit code for a scan: 0 clean, 1 backdoored, 3 inconclusive."""
    return EXIT_CODES[found["verdict"]]


def map_suspects(
    todo: ScanPlan,
    found: dict[str, Any],
    *,
    device: str = "auto",
    watch: "Callable[[Progress], None] | None" = None,
) -> "str | None":
    """Make the ordinary maps of a scan's suspects in the same run.

    A network that cannot be mapped has a verdict all the same: why not is returned in a line.

    Args:
        todo: The scan's plan.
        found: What it found.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        watch: Called after every step.
    """
    suspects = [one["index"] for one in found["suspects"]][:MOST_SUSPECTS]
    if not suspects:
        return None
    try:
        wanted = plan(todo.classifier, todo.recipe, todo.pool, todo.run.path, suspects)
        execute(wanted, device=device, precision=todo.asked["settings"]["precision"], on_progress=watch)
        write_own_predictions(todo.run, todo.classifier, device=device)
    except PhospheneError as error:
        return f"the suspects could not be mapped: {error}"
    return None


def estimate(todo: ScanPlan, *, device: str = "auto") -> float:
    """Return about how many seconds measuring will take: a few pictures are sent through the network and timed."""
    with Engine(todo.classifier, device=device, precision=todo.asked["settings"]["precision"]) as engine:
        pixels = torch.full((TRIAL, *todo.classifier.input.shape), 0.5, device=engine.device, dtype=engine.dtype)
        owner = torch.zeros(TRIAL, dtype=torch.int64, device=engine.device)
        engine.gradients(pixels, owner, "log-odds")
        began = time.perf_counter()
        engine.gradients(pixels, owner, "log-odds")
        return (time.perf_counter() - began) / (2 * TRIAL) * todo.passes


class _Tally:
    """Counts the images of a scan, to say how much is left: a stage of a scan is known by its name."""

    def __init__(self, todo: ScanPlan, watch: "Callable[[Standing, float, float | None], None] | None") -> None:
        self.total = max(todo.passes, 1)
        self.effort, self.classes = todo.effort, todo.classifier.num_classes
        self.watch, self.began = watch, time.monotonic()
        self.stage, self.before, self.now = "", 0.0, 0.0

    def __call__(self, standing: Standing) -> None:
        """Count where a scan stands."""
        if standing.doing != self.stage:
            self.before, self.now, self.stage = self.before + self.now, 0.0, standing.doing
        if not standing.doing.startswith("recover"):
            images = stage_passes(standing.doing, self.classes, self.effort)
            self.now = max(self.now, images * standing.done / max(standing.total, 1))
        share = min((self.before + self.now) / self.total, 1.0)
        elapsed = time.monotonic() - self.began
        left = elapsed * (1 - share) / share if share > 0 and not standing.doing.startswith("recover") else None
        if self.watch is not None:
            self.watch(standing, share, left)


def _triggers(
    todo: ScanPlan, verdict: Verdict, device: str
) -> tuple[dict[str, bytes], dict[int, list[dict[str, str]]]]:
    """Return the files of all recovered triggers, and what the network reads in the samples that they show."""
    files: dict[str, bytes] = {}
    examples: dict[int, list[dict[str, str]]] = {}
    shown = [one.recovered for one in verdict.suspects if one.recovered is not None]
    if not shown:
        return files, examples
    labels = todo.classifier.labels
    with Engine(todo.classifier, device=device, precision=todo.asked["settings"]["precision"]) as engine:
        for one in shown:
            tried = try_on(engine, one, todo.pool.held_out)
            examples[one.index] = [{"before": labels.short(a), "after": labels.short(b)} for a, b in tried.read]
            folder = suspect_folder(one.index, labels[one.index])
            files |= {f"{folder}/{name}": data for name, data in files_of(one, tried).items()}
    return files, examples


def _place(todo: ScanPlan) -> "str | None":
    """Return the file that dashboards point at, relative to the working directory: the model's, or else the scan's."""
    spec = todo.classifier.spec
    for candidate in (spec, spec.rpartition(":")[0], str(todo.run.path / NAME)):
        path = Path(candidate)
        inside = path.resolve().is_relative_to(Path.cwd().resolve())
        if candidate and inside and (path.is_file() or path.name == NAME):
            return quote(path.resolve().relative_to(Path.cwd().resolve()).as_posix())
    return None
