"""``phosphene demo``: map, score and scan the networks of the embedded world."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from phosphene.arguments import Device
from phosphene.backdoor.scan import ScanProgress
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, Verdict
from phosphene.checked import checked
from phosphene.demo.world import TROJAN_TARGET
from phosphene.executors.base import MapOrigin
from phosphene.formats import count
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.recipe import DEFAULT_RECIPE, resolve
from phosphene.reports import write_report
from phosphene.runs.atomic import write_bytes
from phosphene.runs.scans import OTHERS, PLANTED, suspect_folder
from phosphene.samples import default_samples, load_samples
from phosphene.sources import load
from phosphene.workflows.concept_maps import ConceptMaps
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from phosphene.workflows.scan import RECIPE, ScanVerdict, make_scan
from phosphene.workflows.scan_plan import plan_scan
from phosphene.workflows.score import RunScore, score_sources

SOURCE, TARGET = "demo:shapes", "demo:shapes-plain"
SAMPLES = "synthetic:mixed"
# What is scanned, and the target class of its backdoor, if it has one.
BACKDOORS: dict[str, "str | None"] = {SOURCE: None, "demo:shapes-trojan": TROJAN_TARGET}
# Least top-1 of the maps by their source and by another network; the demo fails below.
LEAST_SOURCE_TOP1, LEAST_TARGET_TOP1 = 0.95, 0.5


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo: maps, scores, scans, the report, and whether all is as expected.

    Attributes:
        maps: One map per class.
        report: Path of report.html.
        scores: How each target classifies the maps, by its spec.
        scans: The verdict on each network that was scanned, by its spec.
        as_expected: The source classifies its own maps as their class, the other network most of them, and the scans
            find the one backdoor that there is.
    """

    maps: ConceptMaps
    report: str
    scores: dict[str, RunScore]
    scans: dict[str, ScanVerdict]
    as_expected: bool

    def __repr__(self) -> str:
        verdicts = "; ".join(f"{spec} {one.verdict}" for spec, one in self.scans.items())
        expected = "as expected" if self.as_expected else "not as expected"
        return f"DemoResult({self.report!r}, {count(len(self.maps), 'map')}; {verdicts}; {expected})"


def demo_folder() -> Path:
    """Return the path of the demo's default run directory.

    Its name ends with the recipe's hash, so that a new version has a new one.
    """
    recipe = resolve(DEFAULT_RECIPE)
    return Path("runs") / f"demo-{recipe.name}-{recipe.sha256[:6]}"


@checked
def run_demo(
    out: "str | Path | None" = None, *, device: Device = "auto", progress: "bool | ProgressDisplay" = True
) -> DemoResult:
    """Map and score the classes of a demo network, scan two networks, and write the report.

    Args:
        out: The run directory; by default below ``runs``, by recipe.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        progress: Whether progress is shown.
    """
    device, out = str(device), demo_folder() if out is None else Path(out)
    with show_progress(progress, SOURCE) as display:
        classifier = load(SOURCE)
        pool = load_samples(SAMPLES, classifier.input.shape)
        map_plan = plan(classifier, resolve(DEFAULT_RECIPE), pool, out, device=device)
        execute(map_plan, on_progress=display.follow())
        rows = score_sources([map_plan.run], [SOURCE, TARGET], device=device, display=display)
        scores = {row.target_spec: row for row in rows}
        scans = {}
        for spec in BACKDOORS:
            display.update(f"scan {spec}", last=True)
            scans[spec] = _scan(spec, out, device, display)
        report = write_report(map_plan.run)
    scores_expected = scores[SOURCE].top1_all >= LEAST_SOURCE_TOP1 and scores[TARGET].top1_all >= LEAST_TARGET_TOP1
    scans_expected = all(_label_of_backdoor(scans[spec]) == target for spec, target in BACKDOORS.items())
    return DemoResult(ConceptMaps(map_plan.run.maps()), report, scores, scans, scores_expected and scans_expected)


def _scan(spec: str, out: Path, device: str, display: ProgressDisplay) -> ScanVerdict:
    """Scan a demo network in a run below ``out``, and return the verdict.

    If its trigger is found, the image of the planted one is written into the folder of the suspect, so that the report
    shows it beside the candidate trigger.
    """
    classifier = load(spec)
    pool = load_samples(default_samples(spec), classifier.input.shape)
    origin = MapOrigin(classifier=classifier, pool=pool, recipe=resolve(RECIPE), device=device)
    run = out / OTHERS / classifier.name
    scan_plan = plan_scan(origin, out=run)

    def show(progress: ScanProgress) -> None:
        display.update(f"scan {spec}: {progress.doing}", progress.share)

    verdict = make_scan(scan_plan, display, show)
    for one in verdict.suspects:
        if one.label == BACKDOORS[spec]:  # what was planted is known here: the report shows it beside the candidate
            emblem = resources.files("phosphene.demo").joinpath("emblem.png").read_bytes()
            write_bytes(run / suspect_folder(one.index, one.label) / PLANTED, emblem)
            write_report(run)
    return verdict


def _label_of_backdoor(verdict: Verdict) -> "str | None":
    """Return the label of the class that a scan's working trigger leads to.

    It is ``None`` if the network is clean, and "?" if the scan is inconclusive or no trigger works.
    """
    if verdict.verdict == BACKDOORED:
        return next((one.label for one in verdict.suspects if one.works), "?")
    return None if verdict.verdict == CLEAN else "?"
