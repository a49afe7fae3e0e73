"""The list of maps that ``map_concepts`` returns.

It is indexed by name, shown in a notebook, and saved as a run.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from phosphene.checked import checked
from phosphene.concept_map import Job, MapList, captions
from phosphene.concepts import Concept, is_unit
from phosphene.errors import RunError, describe
from phosphene.executors.base import MapOrigin, MapPlan
from phosphene.labels import first_synonym
from phosphene.mapper import Step, in_groups, map_jobs
from phosphene.report import write_report
from phosphene.report.grid import Grid
from phosphene.runs import RunDirectory, open_run
from phosphene.runs.lock import hold
from phosphene.workflows.map import write_own_predictions
from phosphene.workflows.plan import Jobs
from phosphene.workflows.progress import Progress


class ConceptMaps(MapList):
    """List of maps that :func:`map_concepts` returns.

    ``maps["castle"]`` are those of a concept, ``maps[0]`` is the first map.

    Attributes:
        origin: Classifier, samples and recipe that they were made from; ``None`` if not known.
        run: The run directory that holds them; ``None`` if they are in memory only.
    """

    origin: "MapOrigin | None" = None
    run: "RunDirectory | None" = None

    @checked()
    def grid(self, columns: int = 5, size: "int | None" = None) -> Grid:
        """Return the images with their labels as a :class:`Grid`.

        A notebook shows it, and its ``save`` writes .png, .pdf or .svg.

        Args:
            columns: Images per row.
            size: Width of each image in pixels; 160 by default.

        Raises:
            ConceptError: the list is empty, or a number is below 1.
        """
        return Grid([one.image for one in self], captions(self), columns=columns, size=size)

    @checked()
    def save(self, path: "str | Path") -> RunDirectory:
        """Write the maps, and their classifier's predictions for them, to a run; return the run.

        Args:
            path: The directory: a new one, or one with maps of the same model, recipe and samples.

        Raises:
            RunError: the maps do not know what they were made from, or some of them are of another model, recipe or
                samples, or the directory cannot take them.
        """
        if Path(path).suffix.lower() in (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".gif"):
            raise RunError(f"maps.save writes a run directory, and {path} is an image: maps.grid().save writes a .png.")
        if self.origin is None:
            raise RunError("these maps do not know what they were made from: save what map_concepts returned.")
        for one in self:
            if one.made_from != self.origin.hashes:
                raise RunError(
                    f"the map of {one.short} was not made from the model, recipe and samples of these maps: save it apart."
                )
        origin, run = self.origin, RunDirectory(path)
        labels = origin.classifier.labels
        run.check(origin.facts, labels)
        with hold(run.path):
            run.begin(origin.facts, ((one.job, one.label) for one in self), labels)
            for one in self:
                run.write(one)
        write_own_predictions(run, origin.classifier, device=origin.device)
        self.run = run
        return run

    def report(self) -> str:
        """Write ``report.html`` of the run that holds the maps; return its path.

        Raises:
            RunError: they are in memory only.
        """
        if self.run is None:
            raise RunError("a report belongs to a run directory: maps.save('runs/NAME') first.")
        return write_report(self.run)


Run = str | Path | RunDirectory | ConceptMaps


def read_planned_maps(plan: MapPlan) -> ConceptMaps:
    """Return the maps of a plan, read from its run directory, in the order of its jobs.

    Raises:
        RunError: a map is unfinished or damaged.
    """
    labels = plan.classifier.labels
    read = (plan.run.read(plan.run.folder(job, job.concept(labels).label)) for job in plan.jobs)
    maps = ConceptMaps(
        replace(one, frames=plan.run.frames(one) if plan.frames else (), made_from=plan.hashes) for one in read
    )
    maps.origin, maps.run = plan, plan.run
    return maps


def map_in_memory(
    origin: MapOrigin,
    concepts: Sequence[Concept],
    seeds: Sequence[int],
    frames: int = 0,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> ConceptMaps:
    """Make a map per concept and seed, concept by concept, and write nothing.

    Raises:
        PhospheneError: the network gives NaN or infinity, or the recipe does not fit it.
    """
    maps = ConceptMaps()
    maps.origin = origin
    hashes = origin.hashes  # of the network as it is now: it may be trained on before the maps are saved or checked
    classifier, recipe = origin.classifier, origin.recipe
    jobs = Jobs(concepts, seeds)
    with origin.engine(len(jobs)) as engine:
        pool = origin.pool.to(engine.device)
        for group in in_groups(jobs, engine, recipe):
            maps_done = len(maps)

            def pass_on_step(step: Step, group: Sequence[Job] = group, maps_done: int = maps_done) -> None:
                if on_progress is not None:
                    names = tuple(first_synonym(job.concept(classifier.labels).label) for job in group)
                    of_units = any(is_unit(job.index) for job in group)
                    on_progress(Progress(maps_done, len(jobs), names, step, of_units))

            group_maps = map_jobs(engine, pool, group, recipe, pass_on_step, frames)
            maps += [replace(one, made_from=hashes) for one in group_maps]
    return maps


def to_run(run: Any) -> RunDirectory:
    """Return the :class:`RunDirectory` of a path, an open run or saved maps.

    Raises:
        RunError: it is not a run.
    """
    if isinstance(run, RunDirectory):
        return run
    if isinstance(run, ConceptMaps):
        if run.run is None:
            raise RunError("these maps are in memory only: maps.save('runs/NAME') makes a run directory of them.")
        return run.run
    if not isinstance(run, str | Path):
        raise RunError(f"a run is the path of a run directory or what phosphene.open_run returns, not {describe(run)}.")
    return open_run(run)
