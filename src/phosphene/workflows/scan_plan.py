"""The plan of a scan for backdoors: its inputs and settings, checked, and the verdict if the same scan was made before."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from phosphene.backdoor.measure import measure_passes
from phosphene.backdoor.scan import ALPHA, check_alpha, require_comparable
from phosphene.backdoor.scan_document import method_sha256
from phosphene.classifier import Classifier
from phosphene.errors import RecipeError
from phosphene.executors.base import MapOrigin
from phosphene.runs.paths import directory_name
from phosphene.runs.scans import check_scan
from phosphene.samples import is_natural
from phosphene.workflows.concept_maps import OpenRun
from phosphene.workflows.plan import unless_of_another_model


@dataclass(frozen=True, kw_only=True)
class ScanPlan(MapOrigin):
    """Plan of a ``scan``: network, samples, references, settings, run; :func:`phosphene.workflows.scan.make_scan` runs it.

    Attributes:
        reference: Clean networks, none of them a copy of another.
        run: Where the results go; ``None`` if nothing is to be written.
        request: Everything that determines the verdict, as ``scan.json`` holds it.
        cached: Content of ``scan.json`` if the same scan was made before, else ``None``.
        seconds: Estimated seconds without suspects, after a dry run.
    """

    reference: tuple[Classifier, ...]
    run: "OpenRun | None"
    request: dict[str, Any]
    cached: "dict[str, Any] | None"
    seconds: float = 0.0

    @property
    def passes(self) -> int:
        """Number of images that measuring network and references takes; a backward pass counts as one more.

        Those for candidate triggers are left out.
        """
        pairs = self.request["settings"]["pairs"]
        return sum(measure_passes(one, pairs=pairs) for one in (self.classifier, *self.reference))

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``scan --dry-run --json``: what would be scanned, and its cost."""
        return {
            "run": None if self.run is None else str(self.run.path),
            "model": self.classifier.name,
            "classes": self.classifier.num_classes,
            "pairs": self.request["settings"]["pairs"],
            "references": [one.name for one in self.reference],
            "samples": self.pool.spec,
            "passes": self.passes,
            "seconds": round(self.seconds, 1),
            "done": self.cached is not None,
        }


def plan_scan(
    origin: MapOrigin,
    *,
    out: "str | Path | bool | None" = None,
    reference: Sequence[Classifier] = (),
    alpha: float = ALPHA,
    pairs: bool = False,
    seed: int = 0,
) -> ScanPlan:
    """Check the inputs and settings of a scan, and return its plan, with the result if the same scan is cached.

    Args:
        origin: The network, the samples, the device and precision, and the recipe for the maps of suspects.
        out: The run directory; ``True`` for ``runs/<model>-scan``; by default nothing is written.
        reference: Clean networks of the same kind; copies of one, which have the same hash, count once.
        alpha: Share of clean networks that may be called suspicious.
        pairs: Search all pairs of classes, however many there are.
        seed: Random seed for samples and starting points.

    Raises:
        RecipeError: alpha does not fit, or a network is its own reference.
        RunError: ``out`` holds something else.
    """
    classifier, facts = origin.classifier, origin.facts
    natural = is_natural(classifier, origin.pool.spec)
    by_hash = {one.sha256: one for one in reference}
    reference = tuple(by_hash.values())
    check_alpha(alpha, classifier, natural=natural, references=len(reference))
    require_comparable(classifier, reference)
    if copy := by_hash.get(facts["model"]["sha256"]):
        raise RecipeError(
            f"reference {copy.name} has the same weights as the scanned network: give other clean networks."
        )
    references = [{"name": one.name, "spec": one.spec, "sha256": sha256} for sha256, one in by_hash.items()]
    request = {
        "model": {**facts["model"], "input": list(classifier.input.shape)},
        "samples": {**facts["samples"], "natural": natural},
        "references": references,
        "alpha": alpha,
        "settings": {"pairs": pairs, "seed": seed, "precision": origin.precision},
        "method": method_sha256(),
    }
    run = cached = None
    if out is True:
        out = unless_of_another_model(Path("runs") / directory_name(classifier.name, "scan"), classifier)
    if isinstance(out, str | Path):
        run = OpenRun(out)
        run.check(facts, classifier.labels)
        cached = check_scan(run, request)
    settings = {one.name: getattr(origin, one.name) for one in fields(MapOrigin)}
    return ScanPlan(**settings, reference=reference, run=run, request=request, cached=cached)
