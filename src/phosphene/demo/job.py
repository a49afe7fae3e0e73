"""``phosphene demo``: the whole job on the embedded world."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phosphene.concept_map import ConceptMap
from phosphene.fleet import execute, plan, score_runs
from phosphene.fleet.mapping import Progress
from phosphene.metrics.scorecard import Score
from phosphene.recipe import DEFAULT_RECIPE, resolve
from phosphene.report import write_report
from phosphene.samples import load_samples
from phosphene.sources import load

SOURCE, TARGET = "demo:shapes", "demo:shapes-plain"
SAMPLES = "synthetic:mixed"
# What the demo expects of itself; it fails when the pictures stop being readable.
LEAST_SELF, LEAST_TRANSFER = 0.95, 0.5


@dataclass(frozen=True)
class Outcome:
    """What the demo found.

    Attributes:
        maps: One map a class.
        report: Path of report.html.
        scores: What each target makes of the maps, by its spec.
        as_expected: The network reads its own maps, and the other one reads most of them.
    """

    maps: list[ConceptMap]
    report: str
    scores: dict[str, Score]
    as_expected: bool


def demo_folder() -> Path:
    """Where the demo goes by default: another place for another version of the recipe, so that it always runs."""
    recipe = resolve(DEFAULT_RECIPE)
    return Path("runs") / f"demo-{recipe.name}-{recipe.sha256[:6]}"


def run_demo(out: Path, device: str = "auto", watch: "Callable[[Progress], None] | None" = None) -> Outcome:
    """Map every class of the first demo network, have both networks read the maps, write the report."""
    classifier = load(SOURCE)
    pool = load_samples(SAMPLES, classifier.input.shape)
    todo = plan(classifier, resolve(DEFAULT_RECIPE), pool, out)
    execute(todo, device=device, watch=watch)
    scores = {row.target_spec: row.score for row in score_runs([out], [SOURCE, TARGET], device=device)}
    report = write_report(todo.run)
    good = scores[SOURCE].top1_all >= LEAST_SELF and scores[TARGET].top1_all >= LEAST_TRANSFER
    return Outcome(list(todo.run.maps()), report, scores, good)
