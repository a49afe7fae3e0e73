"""Makes the maps of one run in this process: checkpoints, previews, and files."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress

from torch import Tensor

from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.errors import NumericError, RecipeError, RunError, first_line
from phosphene.executors.base import Event, Group, GroupEnded, GroupFailed, Made, MapPlan, MapSummary, Stepped
from phosphene.mapper import FrameRecorder, MapOptimization
from phosphene.runs.checkpoints import Checkpoints
from phosphene.runs.live import LivePreview
from phosphene.runs.writer import WriterThread

# Between checkpoints; with the step that is under way, no more than ten seconds of work are lost.
CHECKPOINT_SECONDS = 7.0
# Calls of the writer thread that may be unfinished. On a CPU none: the thread would take a core from the network.
MOST_WAITING = {"cpu": 0, "cuda": 64}


@contextmanager
def open_worker(
    plan: MapPlan, stop: Callable[[], bool], writes: Callable[[], bool] = lambda: True
) -> Iterator["Worker"]:
    """Open a plan's network in this process, and yield the ``Worker`` that makes groups of its maps.

    Args:
        plan: The plan of the run.
        stop: Asked after every step whether to end now, with a checkpoint.
        writes: Asked before every write whether this process may write into the run directory: a worker on another
            machine may not see it, and one whose driver was killed must leave it to the next command.
    """
    with (
        plan.engine(plan.missing_count) as engine,
        closing(WriterThread[Event](MOST_WAITING[engine.device.type])) as writer,
    ):
        yield Worker(plan, engine, writer, stop, writes)


class Worker:
    """Makes groups of one run's maps in this process, with an open engine.

    On a GPU the files of a group are written while the next one is made. A map is reported when its files are there.
    """

    def __init__(
        self,
        plan: MapPlan,
        engine: Engine,
        writer: WriterThread[Event],
        stop: Callable[[], bool],
        writes: Callable[[], bool],
    ) -> None:
        self.plan, self.engine, self.writer, self.stop, self.writes = plan, engine, writer, stop, writes
        self.pool = plan.pool.to(engine.device)
        self.checkpoints = Checkpoints(plan.run.path)

    def make(self, group: Group) -> Iterator[Event]:
        """Make a group's maps, from its checkpoint if there is one, and yield events.

        An error is reported as a GroupFailed, unless it is a RunError or RecipeError.

        What a group still has to report when it is made comes with the events of the next one, or from :meth:`flush`.

        Raises:
            RunError: the run directory cannot be written.
            RecipeError: the recipe does not fit the network.
        """
        try:
            yield from self._make(group)
        except (RunError, RecipeError):
            raise
        except Exception as error:  # noqa: BLE001  (a network may raise anything: it costs these maps, no others)
            yield from self.flush()  # a checkpoint of this group may wait to be written
            if self.writes():
                self.checkpoints.drop(group.jobs)
            rows = error.rows if isinstance(error, NumericError) else ()
            reason = str(error) if isinstance(error, NumericError) else f"{type(error).__name__}: {first_line(error)}"
            yield GroupFailed(group, reason, tuple(group.jobs[row] for row in rows))

    def flush(self) -> Iterator[Event]:
        """Wait until all files are written, and yield the events that :meth:`make` has not yielded yet.

        Raises:
            RunError: the run directory cannot be written.
        """
        yield from self.writer.results(flush=True)

    def _make(self, group: Group) -> Iterator[Event]:
        """Make and write a group's maps, with checkpoints and previews; yield events, and let errors through."""
        plan = self.plan
        recipe, labels = plan.recipe, plan.classifier.labels
        may_write = self.writes()
        checkpoint = self.checkpoints.find(group.jobs) if may_write else None
        state = checkpoint.state if checkpoint is not None and checkpoint.jobs == group.jobs else None
        optimization = MapOptimization(self.engine, self.pool, group.jobs, recipe, state)
        film = FrameRecorder(plan.frames, recipe.contrast)
        jobs_with_labels = [(job, job.concept(labels).label) for job in group.jobs]
        saved_at = time.monotonic()
        with LivePreview(plan.run, jobs_with_labels, recipe.contrast) if may_write else nullcontext() as preview:
            for step in optimization:
                film(step)
                if preview is not None:
                    preview(step)
                yield Stepped(group, step)
                yield from self.writer.results()
                if self.stop():
                    self._checkpoint(group, optimization)
                    yield GroupEnded(group, stopped=True)
                    return
                if time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
                    self._checkpoint(group, optimization)
                    saved_at = time.monotonic()
            if len(group.jobs) > 1:  # so that after a stop between two writes the rest is made in the same group
                self._checkpoint(group, optimization)
            for one, job in zip(optimization.finish(film), group.jobs, strict=True):
                if job in group.missing:
                    self.writer.submit(self._write, group, one)
                    yield from self.writer.results()
        self.writer.submit(self._end, group)
        yield from self.writer.results()

    def _write(self, group: Group, one: ConceptMap) -> Made:
        """Write a finished map and return the event that reports it.

        If this process may not write, the event holds the map.
        """
        may_write = self.writes()
        if may_write:
            self.plan.run.write(one)
        return Made(group, MapSummary.of(one, made=True, run=group.run), None if may_write else one)

    def _end(self, group: Group) -> GroupEnded:
        """Delete the checkpoint of a group whose maps are all written; return the GroupEnded event.

        A process that may not write deletes none.
        """
        if self.writes():
            self.checkpoints.drop(group.jobs)
        return GroupEnded(group)

    def _checkpoint(self, group: Group, optimization: MapOptimization) -> None:
        """Have a checkpoint of the group's present state written, if this process may write."""
        if self.writes():
            self.writer.submit(self._save, group, optimization.state())

    def _save(self, group: Group, state: dict[str, Tensor]) -> None:
        """Write the checkpoint of a group.

        An error is ignored: a full disk is reported when a map is written.
        """
        with suppress(RunError):
            self.checkpoints.save(group.jobs, state)
