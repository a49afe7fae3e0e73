"""Maps that Python gets back: made in memory, or read from the run directory that they were written to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from phosphene.concept_map import Job
from phosphene.concepts import Concept
from phosphene.errors import JobsError, NumericError
from phosphene.executors.base import MapOrigin, MapPlan
from phosphene.formats import count
from phosphene.mapper import Step, in_groups, map_jobs
from phosphene.workflows.concept_maps import ConceptMaps
from phosphene.workflows.plan import Jobs
from phosphene.workflows.progress import Progress, failures_text


def read_planned_maps(plan: MapPlan) -> ConceptMaps:
    """Return the maps of a plan, read from its run directory, in the order of its jobs.

    Raises:
        RunError: a map is unfinished or damaged.
    """
    labels = plan.classifier.labels
    read = (plan.run.read(plan.run.folder(job, job.concept(labels).label)) for job in plan.jobs)
    return ConceptMaps(
        replace(one, frames=plan.run.frames(one) if plan.frames else ()).made_from(plan).stored_in(*one.locations[-1])
        for one in read
    )


def map_in_memory(
    origin: MapOrigin,
    concepts: Sequence[Concept],
    seeds: Sequence[int],
    frames: int = 0,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> ConceptMaps:
    """Make a map per concept and seed, concept by concept, and write nothing.

    Of several maps that are made together and fail, each half is tried again, so that a concept fails alone. Whatever
    exception ends this, Ctrl-C too, its attribute ``maps`` holds the maps that are finished.

    Raises:
        JobsError: the network gives NaN or infinity for some of them; the others are finished.
        KeyboardInterrupt: Ctrl-C has come.
        PhospheneError: the recipe does not fit the network.
    """
    jobs, maps, labels = Jobs(concepts, seeds), ConceptMaps(), origin.classifier.labels
    total, failures = f"{count(len(jobs), 'map')} of {origin.facts['model']['name']}", list[dict[str, Any]]()
    group: list[Job] = []

    def report(step: Step) -> None:
        if on_progress is not None:
            on_progress(Progress.of_step(step, group, labels, failures, maps_done=len(maps), maps_total=len(jobs)))

    try:
        with origin.engine(len(jobs)) as engine:
            pool = origin.pool.to(engine.device)
            groups: Iterator[list[Job]] = in_groups(jobs, engine, origin.recipe)
            while group := next(groups, []):
                try:
                    made = map_jobs(engine, pool, group, origin.recipe, report, frames)
                    maps.extend(one.made_from(origin) for one in made)
                except NumericError as error:
                    half = len(group) // 2
                    if half:
                        groups = chain([group[:half], group[half:]], groups)
                    else:
                        index, label, seed = group[0].index, group[0].concept(labels).label, group[0].seed
                        failures.append({"index": index, "label": label, "seed": seed, "error": str(error)})
    except BaseException as stop:
        vars(stop)["maps"] = maps
        if isinstance(stop, KeyboardInterrupt):
            stop.args = (f"{len(maps)} of {total} finished: in a notebook, sys.last_value.maps holds them",)
        raise
    if failures:
        others = " The others are the error's maps (in a notebook, sys.last_value.maps)." if maps else ""
        failed = JobsError(f"{len(failures)} of {total} could not be made: {failures_text(failures)}.{others}")
        failed.maps = maps
        raise failed
    return maps
