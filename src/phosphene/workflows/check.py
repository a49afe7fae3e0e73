"""Sanity checks of a run: which can be made, which are cached, and the others one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from phosphene import notebook
from phosphene.arguments import Model, Samples
from phosphene.checks import CHECKS, CheckContext, Finding, Request, choose, examine
from phosphene.checks.finding import FEWEST
from phosphene.concept_map import ConceptMap
from phosphene.concepts import disjoint
from phosphene.engine.device import pick_device
from phosphene.errors import first_few
from phosphene.formats import count
from phosphene.mapper import passes_per_map
from phosphene.progress import ProgressDisplay
from phosphene.reports import write_report
from phosphene.runs import RunDirectory
from phosphene.runs.checks import FIGURES_ONLY, read_checks, write_check
from phosphene.version import __version__
from phosphene.workflows.judged_maps import JudgedMaps
from phosphene.workflows.progress import Progress

# Maps of more classes than this are not read: they would fill the memory and tell nothing new.
MOST_CLASSES = 64


@dataclass(frozen=True)
class CheckPlan:
    """Plan of a ``check``; :func:`run_checks` runs it.

    Attributes:
        judged: The maps that are checked: a whole run, to which findings are written, or others, of which nothing is written.
        context: Network, samples, recipe and maps.
        names: The checks that are wanted.
        cached: Findings of earlier commands on the same maps, samples and concepts.
        sha256: Hash over the maps of a whole run; else empty.
    """

    judged: JudgedMaps
    context: CheckContext
    names: tuple[str, ...]
    cached: dict[str, Finding] = field(default_factory=dict)
    sha256: str = ""

    @property
    def run(self) -> "RunDirectory | None":
        """The whole run that is checked; ``None`` for other maps."""
        return self.judged.whole_run

    @property
    def concepts(self) -> int:
        """Number of different concepts, also of those that ``context.most`` leaves out."""
        return len({row["index"] for row in self.judged.rows})

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
        """Number of images that the maps to be made send through networks; a backward pass counts as one more."""
        return sum(self.cost.values()) * passes_per_map(self.context.recipe, self.context.pool)


class Findings(list[Finding]):
    """The findings that ``check`` returns, as a list that a notebook shows as a table.

    Attributes:
        plan: Plan of the check.
        report: Path of the run's report; ``None`` after a dry run and for maps in memory.
        seconds: Estimated seconds for the maps to be made, after a dry run; else ``None``.
    """

    def __init__(self, plan: CheckPlan, seconds: "float | None" = None) -> None:
        super().__init__()
        self.plan, self.seconds = plan, seconds
        self.report: str | None = None

    def __repr__(self) -> str:
        return f"Findings({', '.join(f'{one.name}: {one.verdict}' for one in self)})"

    @property
    def not_passed(self) -> list[str]:
        """Name and verdict of every check that has a rule to pass and was not passed: it failed, or could not be judged.

        Of a run that is not finished, a clause that says so comes first.
        """
        not_passed = [f"{one.name}: {one.verdict}" for one in self if one.verdict not in ("passed", "figures only")]
        unfinished = self.plan.judged.unfinished
        return [unfinished, *not_passed] if unfinished else not_passed

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
    maps: Any,
    *,
    model: "Model | None" = None,
    only: Sequence[str] = (),
    most: int = 4,
    samples: Samples = None,
    device: str = "auto",
    trust: bool = False,
) -> CheckPlan:
    """Return the plan of the checks of maps, without beginning any.

    Maps, samples and model are loaded, and of a whole run the findings of earlier commands are read. The arguments are
    those of :func:`phosphene.check`.

    Raises:
        PhospheneError: a check does not exist, or needs a library that is not installed.
        ConceptError: there are no maps.
        RunError: it is not a run, has no finished or damaged maps, or its model has changed; or maps in memory do not know
            what they were made from.
        SamplesError: the run's samples are gone or have changed.
    """
    names = tuple(choose(only))
    pick_device(device)
    judged = JudgedMaps.of(maps)
    classifier = judged.load_model(model, trust=trust, option="--model, or model= in Python")
    pool = judged.load_samples(samples, classifier.input.shape)
    recipe = judged.load_recipe()
    sha256, earlier = (run.maps_sha256(), read_checks(run)) if (run := judged.whole_run) is not None else ("", {})
    options: dict[str, Any] = {"device": device, "precision": judged.facts.get("precision") or "auto", "most": most}
    options["same_samples"] = pool.sha256 == judged.facts["samples"]["sha256"]
    context = CheckContext(classifier, pool, recipe, _maps_to_check(judged), **options)
    subject = _subject_of_finding(context)
    cached = {name: Finding.from_dict(entry) for name, entry in earlier.items() if entry["subject"] == subject}
    return CheckPlan(judged, context, names, cached, sha256)


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


def _maps_to_check(judged: JudgedMaps) -> Sequence[ConceptMap]:
    """Return the maps to check: those in memory, or of a run all seeds of at most 64 classes, spread evenly."""
    if judged.maps is not None:
        return judged.maps
    classes = list(dict.fromkeys(row["index"] for row in judged.rows))
    step = max(1, -(-len(classes) // MOST_CLASSES))
    chosen = set(classes[::step])
    return list(judged.read([row for row in judged.rows if row["index"] in chosen]))


def _subject_of_finding(context: CheckContext) -> dict[str, Any]:
    """Return what a finding depends on, except the arrays of the maps.

    It holds concepts and seeds, samples, and the version of phosphene. A cached finding with another subject is outdated.
    """
    return {
        "concepts": [{"index": one.index, "label": one.label, "seed": one.seed} for one in context.chosen],
        "samples": {"spec": context.pool.spec, "sha256": context.pool.sha256},
        "phosphene": __version__,
    }
