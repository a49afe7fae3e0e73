"""``map``: make the missing maps of plans in run directories, and write a report of each run."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any

from phosphene.concept_map import kind_facts
from phosphene.engine.device import way_of_computing
from phosphene.errors import JobsError, SamplesError, SpecError, warn
from phosphene.executors.base import Executor, MapPlan, MapSummary
from phosphene.executors.interrupt import interruptible
from phosphene.executors.local import LocalExecutor
from phosphene.formats import count
from phosphene.reports import write_report
from phosphene.reports.made import scores_note
from phosphene.runs.checkpoints import Checkpoints
from phosphene.runs.failures import note_failures
from phosphene.runs.frames import NAME as FRAMES
from phosphene.runs.live import remove_signs
from phosphene.runs.lock import hold
from phosphene.samples import MEMORY
from phosphene.version import __version__
from phosphene.workflows.concept_maps import OpenRun
from phosphene.workflows.estimate import Estimate
from phosphene.workflows.group_queue import GroupQueue
from phosphene.workflows.own_predictions import write_own_predictions
from phosphene.workflows.progress import MapCounts, Progress, source_of

# A run of more maps than this does not report its cached maps one by one.
MOST_REPORTED_MAPS = 100
LOCK_SECONDS = 1.0  # time to wait for another command that only adds a few lines to the run


@dataclass
class MappedRun:
    """Result of ``map`` for one model and recipe: the plan, and its maps or, after a dry run, an estimate.

    Attributes:
        plan: Plan of the run.
        maps: Summaries of the run's maps, by class and seed; empty after a dry run.
        report: Path of the run's report; ``None`` after a dry run.
        estimate: What is left to do, after a dry run.
    """

    plan: MapPlan
    maps: list[MapSummary] = field(default_factory=list)
    report: "str | None" = None
    estimate: "Estimate | None" = None

    def __repr__(self) -> str:
        return f"MappedRun({str(self.run.path)!r}, {count(len(self.plan.jobs), 'map')} of {self.plan.classifier.name})"

    @property
    def run(self) -> OpenRun:
        """The run that holds the maps."""
        return OpenRun(self.plan.run.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``map --json`` for this run.

        It has the maps, or after a dry run what they will cost.
        """
        plan, facts = self.plan, ("index", "label", "seed", "p_class", "targeting_rate", "passes", "seconds")
        document = {
            "run": str(plan.run.path),
            "model": plan.classifier.name,
            "recipe": plan.recipe.name,
            "samples": plan.pool.spec,
            "jobs": len(plan.jobs),
            "passes": plan.passes,
        }
        if self.estimate is not None:
            return document | self.estimate.to_dict()
        maps = [
            {**{fact: getattr(one, fact) for fact in facts}, **kind_facts(one.index, one.label, one.p_class)}
            for one in self.maps
        ]
        return {**document, "report": self.report, "maps": maps}


def make_runs(
    plans: Sequence[MapPlan],
    *,
    executor: Executor,
    on_progress: Callable[[Progress], None],
    on_map: "Callable[[MapSummary], None] | None",
) -> list[MappedRun]:
    """Make the missing maps of plans, and write predictions and a report for each run.

    The predictions are the source classifier's for its own maps; they and the reports are written before a JobsError.

    Args:
        plans: Plans of the runs.
        executor: Where the maps are made.
        on_progress: Called after every step.
        on_map: Called for every map; cached ones are left out if a run has many.

    Raises:
        JobsError: maps could not be made; the others are finished, and reported.
        PhospheneError: as :func:`execute`.
    """
    runs = [MappedRun(one) for one in plans]

    def add(summary: MapSummary) -> None:
        """Add a map's summary to its MappedRun, and pass it to ``on_map``.

        A cached map of a run with over 100 maps is not passed on.
        """
        runs[summary.run].maps.append(summary)
        if on_map is not None and (summary.made or len(plans[summary.run].jobs) <= MOST_REPORTED_MAPS):
            on_map(replace(summary, source=source_of(plans[summary.run])) if len(plans) > 1 else summary)

    failure: JobsError | None = None
    try:
        execute(plans, executor=executor, on_progress=on_progress, on_map=add)
    except JobsError as error:
        failure = error
    for one in [one for one in runs if one.maps]:
        write_own_predictions(one.run, one.plan.classifier, device=one.plan.device)
        one.report = write_report(one.run)
        if note := scores_note(one.run, one.run.facts()):
            warn(note)
        one.maps.sort(key=lambda summary: (summary.index, summary.seed))  # several workers finish in any order
    if failure is not None:
        raise failure
    return runs


def execute(
    plans: "MapPlan | Sequence[MapPlan]",
    *,
    executor: "Executor | None" = None,
    on_progress: "Callable[[Progress], None] | None" = None,
    on_map: "Callable[[MapSummary], None] | None" = None,
) -> MapCounts:
    """Lock the runs of plans, and make and write their missing maps with an executor.

    A map is written when it is finished, an unfinished one has a checkpoint; after an interruption the same plan goes
    on from there. A map that fails three times is noted in the run's ``failures.json``, and the others are made. No other
    command can work on the run directories meanwhile.

    Args:
        plans: Plans of the runs.
        executor: Where the maps are made; in this process by default.
        on_progress: Called after every step.
        on_map: Called for every map, also for those that were finished before.

    Raises:
        JobsError: maps could not be made; all others are finished.
        KeyboardInterrupt: Ctrl-C or SIGTERM has come; unfinished maps have checkpoints.
        RunError: a run directory belongs to something else, is in use by another command, or cannot be written.
        SamplesError: samples are in memory, and the executor has worker processes.
        SpecError: so is the network.

    Example:
        >>> import tempfile
        >>> import phosphene as ph
        >>> from phosphene.recipe import resolve
        >>> from phosphene.samples import load_samples
        >>> from phosphene.workflows.plan import plan
        >>> classifier = ph.load("demo:shapes")
        >>> pool = load_samples("synthetic:noise", classifier.input.shape)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     planned = plan(classifier, resolve("vivid", {"steps": 2}), pool, folder, ["star"])
        ...     execute(planned).made, [one.short for one in planned.run.maps()]
        (1, ['star'])
    """
    plan_list = [plans] if isinstance(plans, MapPlan) else list(plans)
    executor = executor or LocalExecutor()
    with ExitStack() as stack:
        stop = stack.enter_context(interruptible())
        for one in plan_list:
            if one.pool.spec == MEMORY and not isinstance(executor, LocalExecutor):
                raise SamplesError(
                    "worker processes load samples by their spec, and these are in memory: save them as a .npy file and give "
                    "its path, or map in one process, without executor and workers."
                )
            if one.classifier.spec == one.classifier.name and not isinstance(executor, LocalExecutor):
                raise SpecError(
                    f"worker processes load a network by its spec, and {one.classifier.name} was made in Python: write a function "
                    "that returns it and give 'FILE.py:FUNCTION' with trust, or map in one process, without executor and workers."
                )
            with one.engine() as engine:
                engine.spatial_layer(one.recipe.xi_layer)  # what cannot work is refused before anything is written
            labels = one.classifier.labels
            one.run.check(one.facts, labels)
            stack.enter_context(hold(one.run.path, wait=LOCK_SECONDS))
            _warn_of_another_way(one)
            _warn_of_missing_frames(one)
            one.run.begin(one.facts, ((job, job.concept(labels).label) for job in one.jobs), labels)
        queue = GroupQueue(plan_list, executor, on_progress, on_map)
        try:
            with closing(executor.run(plan_list, queue.take, stop)) as events:  # else an error keeps the network open
                for event in events:
                    queue.handle(event)
        finally:
            for one in plan_list:
                Checkpoints(one.run.path).tidy()
                remove_signs(one.run.path)
        if stop():
            counts = queue.counts
            raise KeyboardInterrupt(f"{counts.made + counts.cached:,} of {count(counts.maps, 'map')} finished")
        for one in plan_list:
            note_failures(one.run)
    queue.counts.raise_failures()
    return queue.counts


def _warn_of_another_way(plan: MapPlan) -> None:
    """Warn if the run's maps were made by another version, on another kind of device, or in another precision than asked for.

    If all are finished, only a precision that was chosen is of interest.
    """
    if not plan.run.listing():
        return
    facts, missing = plan.run.facts(), plan.missing_count
    was, now = (way_of_computing(one["device"], one.get("precision", "")) for one in (facts, plan.facts))
    if was and was != now and missing:
        warn(f"{plan.run.path} was made on {was}, and further maps are made on {now}: device and precision choose.")
    elif was and was != now and plan.precision != "auto":
        warn(
            f"the maps of {plan.run.path} were made on {was} and stay so: choose another directory for {now} (--out, or out= in Python)."
        )
    version = facts["versions"]["phosphene"]
    if version != __version__ and missing:
        warn(f"{plan.run.path} was made by phosphene {version}, and further maps are made by {__version__}.")


def _warn_of_missing_frames(plan: MapPlan) -> None:
    """Warn if frames are asked for of maps that were finished without them."""
    if not plan.frames or not plan.run.listing():
        return
    finished = plan.run.finished_folders()
    folders = [finished[place] for job in plan.jobs if (place := (job.index, job.seed)) in finished]
    bare = sum(not (folder / FRAMES).exists() for folder in folders)
    if bare:
        was = "map was" if bare == 1 else "maps were"
        warn(
            f"{bare:,} {was} made without frames in {plan.run.path}: make them anew in another directory (--out, or out= in Python)."
        )
