"""The driver: hands out tasks, tries again what failed, counts, and says at the end what could not be made."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import JobsError
from phosphene.labels import first_synonym
from phosphene.runs import RunFacts
from phosphene.runs.failures import note_failures
from phosphene.runs.leases import sweep
from phosphene.runs.live import sweep_live
from phosphene.workflows.plan import MapPlan
from phosphene.workflows.progress import Progress, Tally
from phosphene.workflows.protocol import Broken, Died, Event, Executor, Failed, Found, MapNote, Stepped, Task, Ticket
from phosphene.workflows.queue import Queue
from phosphene.workflows.signals import stopping

TRIES = 3
MOST_SAID = 5


@dataclass(frozen=True)
class Failure:
    """A map that could not be made."""

    run: Path
    index: int
    label: str
    seed: int
    error: str
    tries: int


@dataclass
class Outcome:
    """What an execution came to.

    Attributes:
        made: Maps that were made.
        there: Maps that were there already.
        failures: Maps that could not be made.
    """

    made: int = 0
    there: int = 0
    failures: list[Failure] = field(default_factory=list)

    def check(self) -> None:
        """Raise where maps could not be made.

        Raises:
            JobsError: some could not; the first few are named.
        """
        if not self.failures:
            return
        said = [
            f"{first_synonym(one.label)} ({one.index}), seed {one.seed}: {one.error.rstrip('.')}"
            for one in self.failures[:MOST_SAID]
        ]
        more = f"; and {len(self.failures) - MOST_SAID} more" if len(self.failures) > MOST_SAID else ""
        total = self.made + self.there + len(self.failures)
        where = ", ".join(sorted({str(one.run / "failures.json") for one in self.failures}))
        raise JobsError(
            f"{len(self.failures)} of {total} maps could not be made in {TRIES} tries: "
            f"{'; '.join(said)}{more}. All are listed in {where}; the same command tries them again."
        )


class Driver:
    """One execution of several plans.

    Args:
        plans: What to make.
        executor: What does the work.
        device: Passed on to the workers, as are ``precision``, ``frames`` and ``together``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        frames: Pictures of each new map as it grows.
        together: Maps made together; 0 leaves it to the engine.
        watch: Called whenever a map has taken a step.
        done: Called for every map, also for those that were there already.
    """

    def __init__(
        self,
        plans: Sequence[MapPlan],
        executor: Executor,
        *,
        device: str = "auto",
        precision: str = "auto",
        frames: int = 0,
        together: int = 0,
        watch: "Callable[[Progress], None] | None" = None,
        done: "Callable[[MapNote], None] | None" = None,
    ) -> None:
        self.plans, self.executor, self.watch, self.done = plans, executor, watch, done
        self.device, self.precision = device, precision
        asked: dict[str, Any] = {"frames": frames, "together": together, "driver": uuid.uuid4().hex}
        self.tickets = [Ticket.of(plan, device=device, precision=precision, **asked) for plan in plans]
        self.queue = Queue(plans, [together or executor.together(plan) for plan in plans])
        self.tally = Tally(plans, executor.workers)
        self.outcome = Outcome()
        self.at: dict[int, Task] = {}  # tasks that were handed out
        self.counted: set[tuple[int, Job]] = set()  # of tasks that may be done again
        self.tries: Counter[tuple[int, Job]] = Counter()
        self.deaths: Counter[tuple[int, tuple[Job, ...]]] = Counter()
        self.broken: Exception | None = None

    def run(self) -> Outcome:
        """Make all maps that are missing.

        Raises:
            KeyboardInterrupt: a stop was asked for; unfinished maps have checkpoints.
            RunError: a run directory belongs to something else or cannot be written.
        """
        for plan in self.plans:
            self._begin(plan)
        with stopping() as stop:
            try:
                self.executor.open(self.plans, self.tickets, self._tell, stop)
                self.tally.workers = self.executor.workers
                while (self.at or self.queue) and not stop() and self.broken is None:
                    self._hand_out()
                    if self.at:
                        self.executor.wait(1.0)
                    else:
                        time.sleep(0.1)  # another process is at all that is left
            finally:
                self.executor.close()
                for plan in self.plans:
                    sweep(plan.run.path)
                    sweep_live(plan.run.path)
        if self.broken is not None:
            raise self.broken
        if stop():
            raise KeyboardInterrupt
        for plan in self.plans:
            note_failures(plan.run)
        return self.outcome

    def _hand_out(self) -> None:
        for slot in self.executor.slots():
            task = self.queue.take(slot.loaded, [other.run for other in self.at.values()])
            if task is None:
                return
            self.at[task.number] = task
            self.executor.submit(slot, task)

    def _begin(self, plan: MapPlan) -> None:
        """Bind the run directory, after what cannot work has been refused."""
        with Engine(plan.classifier, device=self.device, precision=self.precision) as engine:
            engine.spatial_layer(plan.recipe.xi_layer)
            facts = RunFacts.of(plan.classifier, plan.recipe, plan.pool, str(engine.device), self.precision)
        labels = plan.classifier.labels
        plan.run.begin(facts, ((job, labels[job.index]) for job in plan.jobs))

    # --- what happens

    def _tell(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Broken):
            self.broken = self.broken or event.error
            return
        task = self.at.get(event.task)
        if task is None:  # of a worker that was given up
            return
        if isinstance(event, Stepped):
            names = tuple(self.plans[task.run].classifier.labels.short(job.index) for job in event.jobs)
            progress = self.tally.stepped(task, names, event.step)
            if self.watch is not None:
                self.watch(progress)
        elif isinstance(event, Found):
            self._found(task, event)
        elif isinstance(event, Failed):
            self._failed(task, event)
        else:
            del self.at[task.number]
            self.tally.ended(task)
            if isinstance(event, Died):
                self._died(task, event)
            elif event.stopped:
                self.queue.put(task.run, task.jobs)
            else:
                self.counted.difference_update((task.run, job) for job in task.jobs)  # it will not be done again
                self.queue.put(task.run, event.busy, wait=True)

    def _found(self, task: Task, event: Found) -> None:
        if event.map is not None:
            self.plans[task.run].run.write(event.map)
        key = (task.run, Job(event.note.index, event.note.seed))
        if key in self.counted:  # a task that is done again finds what the first try made
            return
        self.counted.add(key)
        self.outcome.made += event.note.made
        self.outcome.there += not event.note.made
        self.tally.found(task, made=event.note.made)
        if self.done is not None:
            self.done(replace(event.note, run=task.run))

    def _failed(self, task: Task, event: Failed) -> None:
        """Count a failure of one map; part the maps of a group, so that the bad one spoils no others."""
        self.tally.ended(task)
        if len(event.jobs) == 1:
            self._count(task.run, event.jobs[0], event.error)
        elif event.guilty:
            for job in event.guilty:
                self._count(task.run, job, event.error)
            mates = [job for job in event.jobs if job not in event.guilty]
            if mates:
                self.queue.put(task.run, mates)
        else:
            self._halve(task.run, event.jobs)

    def _died(self, task: Task, event: Died) -> None:
        """Try a task again whose worker has gone; one that kills its workers is taken apart."""
        left = tuple(job for job in task.jobs if (task.run, job) not in self.counted)
        self.deaths[task.run, left] += 1
        if len(left) == 1:
            self._count(task.run, left[0], event.why, tries=TRIES if event.final else 1)
        elif self.deaths[task.run, left] == 1 and not event.final:
            self.queue.put(task.run, left)
        else:
            self._halve(task.run, left)

    def _halve(self, run: int, jobs: Sequence[Job]) -> None:
        for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
            if half:
                self.queue.put(run, half)

    def _count(self, run: int, job: Job, error: str, tries: int = 1) -> None:
        self.tries[run, job] += tries
        if self.tries[run, job] < TRIES:
            self.queue.put(run, [job])
            return
        plan = self.plans[run]
        label = plan.classifier.labels[job.index]
        self.outcome.failures.append(Failure(plan.run.path, job.index, label, job.seed, error, TRIES))
        row = {"index": job.index, "label": label, "seed": job.seed, "error": error, "tries": TRIES}
        note_failures(plan.run, [row])
        self.tally.failed(run)
