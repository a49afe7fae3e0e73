"""Sanity checks of a run: which can be made, which are cached, and the others one by one."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex, overload

from phosphene import notebook
from phosphene.arguments import Model, Samples, to_classifier, to_pool
from phosphene.checks import CHECKS, CheckContext, Finding, Request, choose, examine
from phosphene.checks.finding import FEWEST
from phosphene.concept_map import ConceptMap, Job
from phosphene.concepts import disjoint
from phosphene.engine.device import pick_device
from phosphene.errors import RunError, first_few
from phosphene.executors.base import MapOrigin
from phosphene.formats import count
from phosphene.mapper import passes_per_map
from phosphene.progress import ProgressDisplay
from phosphene.reports import write_report
from phosphene.runs import RunDirectory
from phosphene.runs.checks import FIGURES_ONLY, read_checks, write_check
from phosphene.runs.whole import run_with
from phosphene.version import __version__
from phosphene.workflows.concept_maps import ConceptMaps
from phosphene.workflows.progress import Progress
from phosphene.workflows.run_origin import origin_of_run

# Maps of more classes than this are not read: they would fill the memory and tell nothing new.
MOST_CLASSES = 64


@dataclass(frozen=True)
class CheckPlan:
    """Plan of a ``check``: the checks, the maps and the network; :func:`run_checks` runs it.

    Attributes:
        run: The run that is checked; ``None`` for maps in memory or of a part of a run.
        context: Network, samples, recipe and maps of the run.
        names: The checks that are wanted.
        cached: Findings of earlier commands on the same maps, samples and concepts.
        sha256: Hash over the run's maps.
    """

    run: "RunDirectory | None"
    context: CheckContext
    names: tuple[str, ...]
    cached: dict[str, Finding] = field(default_factory=dict)
    sha256: str = ""

    @property
    def cost(self) -> dict[str, int]:
        """Number of maps that each check has to make, by its name; 0 if its finding is cached.

        Maps that several checks of this plan share count for the first of them alone.
        """
        requests: set[Request] = set()
        costs = {}
        for name in self.names:
            further = set() if name in self.cached else set(CHECKS[name].requests(self.context)) - requests
            costs[name] = len(further)
            requests |= further
        return costs

    def __str__(self) -> str:
        costs = self.cost
        lines = [
            f"{name:<16} {'done' if name in self.cached else count(maps, 'map')}: {CHECKS[name].question}"
            for name, maps in costs.items()
        ]
        total = f"{count(sum(costs.values()), 'map')}, {self.passes:,} passes"
        return "\n".join([*lines, *([self.choice] if self.choice else []), total])

    @property
    def concepts(self) -> int:
        """Number of different concepts in the run, or in the list of maps.

        All count, also where ``context.most`` limits a check to fewer.
        """
        maps = [one.index for one in self.context.maps]
        return len(set(maps if self.run is None else [row["index"] for row in self.run.facts()["jobs"]]))

    @property
    def choice(self) -> str:
        """A sentence that says how many of the concepts are checked, and which; empty if all are."""
        chosen_maps, total = self.context.chosen, self.concepts
        if len(chosen_maps) == total:
            return ""
        names, most = first_few([one.short for one in chosen_maps]), min(total, MOST_CLASSES)
        return f"Maps of {len(chosen_maps)} of {total:,} concepts were chosen (option most, up to {most}): {names}."

    @property
    def doubt(self) -> str:
        """A warning that too few classes are checked for a verdict; empty if none is due.

        None is due if there are enough classes, or if no chosen check gives a verdict.
        """
        if self.context.classes >= FEWEST or FIGURES_ONLY.issuperset(self.names):
            return ""
        classes = len(disjoint(one.concept for one in self.context.maps))
        too_few = classes < FEWEST
        has = "these maps have" if self.run is None else "this run has"
        have = f"{has} {classes}" if too_few else f"{self.context.classes} were chosen"
        noun = self.context.words.several
        fix = f"map at least {FEWEST} {noun}" if too_few else "choose more, by the option most"
        return (
            f"at least {FEWEST} {noun} are needed for a verdict, and {have}, so that checks will say "
            f"'too few to tell': {fix}."
        )

    @property
    def passes(self) -> int:
        """Number of images that the maps to be made for the checks send through networks.

        A backward pass counts as one more.
        """
        return sum(self.cost.values()) * passes_per_map(self.context.recipe, self.context.pool)


class Findings(list[Finding]):
    """The findings that ``check`` returns, as a list that a notebook shows as a table; a slice is one, too, of the same plan.

    Attributes:
        plan: Plan of the check.
        report: Path of the run's report; ``None`` after a dry run and for maps in memory.
        seconds: Estimated seconds for the maps to be made, after a dry run; else ``None``.
    """

    def __init__(self, plan: CheckPlan, seconds: "float | None" = None) -> None:
        super().__init__()
        self.plan, self.seconds = plan, seconds
        self.report: str | None = None

    @overload
    def __getitem__(self, place: SupportsIndex) -> Finding: ...
    @overload
    def __getitem__(self, place: "slice[Any, Any, Any]") -> "Findings": ...
    def __getitem__(self, place: "SupportsIndex | slice[Any, Any, Any]") -> "Finding | Findings":
        found = super().__getitem__(place)
        if not isinstance(found, list):
            return found
        part = copy.copy(self)
        part[:] = found
        return part

    def __repr__(self) -> str:
        return f"Findings({', '.join(f'{one.name}: {one.verdict}' for one in self)})"

    @property
    def not_passed(self) -> list[str]:
        """Name and verdict of every check that has a rule to pass and was not passed: it failed, or could not be judged."""
        return [f"{one.name}: {one.verdict}" for one in self if one.verdict not in ("passed", "figures only")]

    def _repr_html_(self) -> str:
        """Return the findings as HTML that a notebook displays: a table of check, verdict and explanation."""
        rows = [(one.name, one.verdict, one.explanation) for one in self]
        table = notebook.piece("table", ["check", "verdict", "finding"], rows)
        return notebook.piece("stack", [table, self.plan.choice])

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``check --json``: the findings, or after a dry run what would be checked."""
        plan = self.plan
        head: dict[str, Any] = {} if plan.run is None else {"run": str(plan.run.path)}
        head |= {"concepts": plan.concepts, "concepts_chosen": [one.short for one in plan.context.chosen]}
        if self.seconds is not None:
            costs = plan.cost
            rows = [{"name": name, "maps": maps, "done": name in plan.cached} for name, maps in costs.items()]
            cost = {"maps": sum(costs.values()), "passes": plan.passes, "seconds": round(self.seconds, 1)}
            return {**head, "checks": rows, **cost}
        return {**head, "findings": [{**one.to_dict(), "verdict": one.verdict} for one in self], "report": self.report}


def plan_checks(
    run: RunDirectory,
    *,
    model: "Model | None" = None,
    only: Sequence[str] = (),
    most: int = 4,
    samples: Samples = None,
    device: str = "auto",
    trust: bool = False,
) -> CheckPlan:
    """Return the plan of the checks of a finished run, without beginning any.

    Its maps, samples and model are loaded, and the findings of earlier commands are read.

    Args:
        run: The run directory.
        model: The model that made its maps, by default the one that ``run.json`` names.
        only: Names of checks; all by default.
        most: Classes for which other maps are made, spread over the run.
        samples: Sample spec; the run's own by default.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        trust: Allow code that came with the model to run.

    Raises:
        PhospheneError: a check does not exist, or needs a library that is not installed.
        RunError: it is not a run, has unfinished or damaged maps, or its model has changed.
        SamplesError: the run's samples are gone or have changed.
    """
    names = choose(only)
    pick_device(device)
    facts = run.facts()
    rows = _jobs_to_check(run, facts)
    origin = origin_of_run(run, facts, model, samples, trust=trust, device=device)
    sha256, earlier = run.maps_sha256(), read_checks(run)
    maps = [run.read(run.folder(Job(row["index"], row["seed"]), row["label"])) for row in rows]
    context = _context(origin, maps, most, same_samples=origin.pool.sha256 == facts["samples"]["sha256"])
    subject = _subject_of_finding(context)
    cached = {name: Finding.from_dict(entry) for name, entry in earlier.items() if entry["subject"] == subject}
    return CheckPlan(run, context, tuple(names), cached, sha256)


def plan_checks_in_memory(
    maps: ConceptMaps,
    *,
    model: "Model | None" = None,
    only: Sequence[str] = (),
    most: int = 4,
    samples: Samples = None,
    device: str = "auto",
    trust: bool = False,
) -> CheckPlan:
    """Return the plan of the checks of maps that are in memory or a part of a run, whose findings no file holds.

    Network, recipe and, unless given, samples are those of ``maps.origin``, or are loaded as those of the run. Arguments
    are those of :func:`plan_checks`.

    Raises:
        PhospheneError: as :func:`plan_checks`.
        ConceptError: there are no maps.
        RunError: the maps do not know what they were made from, or ``model`` is another one.
    """
    names, run = tuple(choose(only)), run_with(maps)
    if maps.origin is None and run is not None:
        facts = run.facts()
        origin = origin_of_run(run, facts, model, samples, trust=trust, device=device)
        sha256 = facts["samples"]["sha256"]
    else:
        origin = maps.require_origin()
        if model is not None and to_classifier(model, trust=trust).sha256 != origin.hashes[0]:
            raise RunError("these maps were made by another model: leave model out, they know theirs.")
        origin.refuse_changed_network()
        sha256 = origin.pool.sha256
        pool = origin.pool if samples is None else to_pool(samples, origin.classifier)
        origin = replace(origin, pool=pool, device=device)
    return CheckPlan(None, _context(origin, maps, most, same_samples=origin.pool.sha256 == sha256), names)


def _context(origin: MapOrigin, maps: Sequence[ConceptMap], most: int, *, same_samples: bool) -> CheckContext:
    """Return the CheckContext of maps with what they were made from."""
    options: dict[str, Any] = {"device": origin.device, "precision": origin.precision, "same_samples": same_samples}
    return CheckContext(origin.classifier, origin.pool, origin.recipe, maps, most=most, **options)


def run_checks(
    plan: CheckPlan, display: ProgressDisplay, *, on_finding: "Callable[[Finding], None] | None" = None
) -> Findings:
    """Run the planned checks that are not cached, and return all findings.

    Of a run, each finding is written to ``checks.json`` at once, and the report at the end.

    Args:
        plan: What to check.
        display: Shows progress.
        on_finding: Called for every finding, also for cached ones.

    Raises:
        RunError: the maps have changed meanwhile, or the run directory cannot be written.
    """
    if plan.run is not None:
        plan.run.require_writable()
    context = plan.context
    context.maps_total = sum(plan.cost.values())
    context.on_progress = lambda *facts: Progress(*facts).show(display)
    findings = Findings(plan)
    for name in plan.names:
        finding = plan.cached.get(name)
        if finding is None:
            finding = examine(name, context)
            if plan.run is not None:
                write_check(plan.run, {**finding.to_dict(), "subject": _subject_of_finding(context)}, plan.sha256)
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding)
    context.on_progress = None  # the findings hold the context, and a function like this cannot be pickled
    findings.report = None if plan.run is None else write_report(plan.run)
    return findings


def _jobs_to_check(run: RunDirectory, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of ``run.json`` to check: all seeds of at most 64 classes, spread evenly.

    A run that is not finished is a RunError.
    """
    rows: list[dict[str, Any]] = facts["jobs"]
    run.require_finished()
    classes = list(dict.fromkeys(row["index"] for row in rows))
    step = max(1, -(-len(classes) // MOST_CLASSES))
    chosen_classes = set(classes[::step])
    return [row for row in rows if row["index"] in chosen_classes]


def _subject_of_finding(context: CheckContext) -> dict[str, Any]:
    """Return what a finding depends on, except the arrays of the maps.

    It holds concepts and seeds, samples, and the version of phosphene. A cached finding with another subject is outdated.
    """
    return {
        "concepts": [{"index": one.index, "label": one.label, "seed": one.seed} for one in context.chosen],
        "samples": {"spec": context.pool.spec, "sha256": context.pool.sha256},
        "phosphene": __version__,
    }
