"""A worker: one process with one network loaded, which looks for maps and makes those that are missing."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import NumericError, RecipeError, RunError, first_line
from phosphene.mapper import FrameRecorder, MapOptimization, Step, group_size
from phosphene.runs import RunDirectory
from phosphene.runs.live import Live
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load
from phosphene.workflows.protocol import Ended, Failed, Found, MapNote, Stepped, Task, Tell, Ticket
from phosphene.workflows.stores import DirectoryStore, Store

# Between checkpoints; with the step that is under way, no more than ten seconds of work are lost.
CHECKPOINT_SECONDS = 7.0

# Looks at maps after every step: which they are, with their labels, and where they stand.
Observer = Callable[[Sequence[tuple[Job, str]], Step], None]


class Stopped(Exception):  # noqa: N818  (it is no error)
    """The work was laid down between two steps, with a checkpoint."""


def open_ticket(ticket: Ticket) -> tuple[Classifier, SamplePool]:
    """Load what a ticket names.

    Raises:
        PhospheneError: it cannot be loaded here.
        RunError: the model or the samples are not those that were planned with.
    """
    if Path(ticket.folder).is_dir():  # a worker elsewhere need not have it
        os.chdir(ticket.folder)
    classifier = load(ticket.model, trust=ticket.trust)
    if classifier.sha256 != ticket.model_sha256:
        raise RunError(f"{ticket.model} has other weights in a worker than in the plan: leave it alone meanwhile.")
    pool = load_samples(ticket.samples, classifier.input.shape)
    if pool.sha256 != ticket.samples_sha256:
        raise RunError(f"samples {ticket.samples} differ in a worker from those that were planned with.")
    return classifier, pool


class Session:
    """A run that is open in this process. Use it as a context.

    Args:
        ticket: The run.
        classifier: Its network.
        pool: Its samples.
        stop: Asked after every step whether to lay the work down.
        store: Where results go; the ticket's run directory by default.

    Attributes:
        observers: Called after every step, in this process; they look and never touch.
    """

    def __init__(
        self,
        ticket: Ticket,
        classifier: Classifier,
        pool: SamplePool,
        stop: Callable[[], bool],
        store: "Store | None" = None,
    ) -> None:
        self.ticket, self.classifier, self.pool, self.stop = ticket, classifier, pool, stop
        self.engine = Engine(classifier, device=ticket.device, precision=ticket.precision)
        self.store: Store = store or DirectoryStore(ticket.run, ticket.driver)
        self.observers: list[Observer] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.callback(self.store.close)
            opening.enter_context(self.engine)
            self.engine.spatial_layer(self.ticket.recipe.xi_layer)  # a recipe that cannot work fails once, not per job
            self.pool = self.pool.to(self.engine.device)
            if isinstance(self.store, DirectoryStore):
                live = opening.enter_context(Live(RunDirectory(self.ticket.run), self.ticket.recipe.contrast))
                self.observers.append(live.preview)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def work(self, task: Task, tell: Tell) -> None:
        """Do a task: tell of every map that is there, make the others, tell how it ended.

        Raises:
            RunError: the run directory cannot be written.
            RecipeError: the recipe does not fit the network.
        """
        busy: list[Job] = []
        size = self.ticket.together or group_size(self.engine, self.ticket.recipe)
        try:
            for start in range(0, len(task.jobs), size):
                busy += self._group(task.number, task.jobs[start : start + size], tell)
        except Stopped:
            tell(Ended(task.number, stopped=True))
        else:
            tell(Ended(task.number, tuple(busy)))

    def _group(self, task: int, group: Sequence[Job], tell: Tell) -> list[Job]:
        """See to the maps of a group; return those that others are at."""
        missing = self._look(task, group, tell)
        if not missing:
            for job in group:  # one that was killed between the last write and this left its checkpoint
                self.store.forget([job])
            return []
        mine: list[Job] = []
        try:
            for job in missing:
                if self.store.claim(job):
                    mine.append(job)
                elif not mine:
                    return missing  # another driver has the whole group, as a rule
            todo = self._look(task, mine, tell)  # one that was at it may have finished just before
            while todo:
                done = self._attempt(task, group, todo, tell)
                todo = [job for job in todo if job not in done]
        finally:
            for job in mine:
                self.store.release(job)
        return [job for job in missing if job not in mine]

    def _attempt(self, task: int, group: Sequence[Job], todo: Sequence[Job], tell: Tell) -> tuple[Job, ...]:
        """Make maps of ``todo`` together, or those that have a checkpoint; tell of a failure; return which it was."""
        begun = self.store.begun(group)
        if begun is not None and not set(begun.jobs) & set(todo):
            self.store.forget(begun.jobs)
            begun = None
        jobs = tuple(todo) if begun is None else begun.jobs
        try:
            self._make(task, jobs, todo, None if begun is None else begun.state, tell)
        except (Stopped, RunError, RecipeError):
            raise
        except Exception as error:  # noqa: BLE001  (a network may raise anything: it costs these maps, no others)
            self.store.forget(jobs)
            rows = error.rows if isinstance(error, NumericError) else ()
            tell(Failed(task, jobs, _said(error), tuple(jobs[row] for row in rows)))
        return jobs

    def _look(self, task: int, jobs: Sequence[Job], tell: Tell) -> list[Job]:
        """Tell of maps that are there; return the others."""
        missing = []
        for job in jobs:
            one = self.store.there(job, self.classifier.labels[job.index])
            if one is None:
                missing.append(job)
            else:
                tell(Found(task, MapNote.of(one, made=False)))
        return missing

    def _make(
        self, task: int, jobs: tuple[Job, ...], todo: Sequence[Job], state: "dict[str, torch.Tensor] | None", tell: Tell
    ) -> None:
        """Make the maps of ``jobs`` together, from ``state`` if there is one; write those of ``todo``."""
        film = FrameRecorder(self.ticket.frames, self.ticket.recipe.contrast)
        labelled = [(job, self.classifier.labels[job.index]) for job in jobs]
        making = MapOptimization(self.engine, self.pool, jobs, self.ticket.recipe, state)
        kept = time.monotonic()
        for step in making:
            film(step)
            for observe in self.observers:
                observe(labelled, step)
            tell(Stepped(task, jobs, step))
            now = time.monotonic()
            if self.stop():
                self._keep(jobs, making)
                raise Stopped
            if now - kept >= CHECKPOINT_SECONDS:
                self._keep(jobs, making)
                kept = time.monotonic()
        if len(jobs) > 1:  # so that a stop between two writes does not have the rest made in other company
            self._keep(jobs, making)
        for one in making.finish(film):
            if Job(one.index, one.seed) in todo:
                written = self.store.write(one)
                tell(Found(task, MapNote.of(one, made=True), None if written else one))
        self.store.forget(jobs)

    def _keep(self, jobs: Sequence[Job], making: MapOptimization) -> None:
        """Write a checkpoint; where that cannot be, the work goes on: a full disk ends it when a map is written."""
        with suppress(RunError):
            self.store.keep(jobs, making.state())


def _said(error: Exception) -> str:
    name = type(error).__name__
    return str(error) if isinstance(error, NumericError) else f"{name}: {first_line(error)}"
