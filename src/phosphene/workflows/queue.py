"""The driver's queue: jobs become tasks one by one, so that a million wait in no room."""

import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence

from phosphene.concept_map import Job
from phosphene.workflows.plan import MapPlan
from phosphene.workflows.protocol import Task

# Maps that seem to be there are looked at this many at once: that is a matter of milliseconds.
LOOK_TOGETHER = 64
WAIT_SECONDS = 1.0  # before a job that another process is at is tried again


class Queue:
    """Tasks of several runs: fresh ones first, so that one network is used as long as it lasts, then what came back.

    Args:
        plans: What is to be done.
        sizes: How many maps of each plan are made together.
    """

    def __init__(self, plans: Sequence[MapPlan], sizes: Sequence[int]) -> None:
        self._numbers = itertools.count()
        self._fresh: dict[int, Iterator[Task]] = {
            run: self._tasks(run, plan, size) for run, (plan, size) in enumerate(zip(plans, sizes, strict=True))
        }
        self._next: dict[int, Task] = {}  # a run's first fresh task, once looked for
        self._again: deque[Task] = deque()
        self._later: list[tuple[float, Task]] = []

    def _tasks(self, run: int, plan: MapPlan, size: int) -> Iterator[Task]:
        """Cut a plan into groups at places that depend on the plan alone, so that a second run has the same groups."""
        there = plan.run.listing()
        looks: list[Job] = []
        for chunk in _batched(plan.jobs, size):
            seen = all(job.seed in there.get(job.index, ()) for job in chunk)
            if seen:
                looks += chunk
            if looks and (len(looks) >= LOOK_TOGETHER or not seen):
                yield self.task(run, looks)
                looks = []
            if not seen:
                yield self.task(run, chunk)
        if looks:
            yield self.task(run, looks)

    def task(self, run: int, jobs: Sequence[Job]) -> Task:
        """Make a task."""
        return Task(next(self._numbers), run, tuple(jobs))

    def take(self, loaded: "int | None", at: Sequence[int]) -> "Task | None":
        """Return the next task for a worker.

        Args:
            loaded: The run whose network it has at hand.
            at: The runs that the other workers are at.
        """
        now = time.monotonic()
        due = [entry for entry in self._later if entry[0] <= now]
        for entry in due:
            self._later.remove(entry)
            self._again.append(entry[1])
        for task in self._again:
            if task.run == loaded:
                self._again.remove(task)
                return task
        if loaded is not None and self._peek(loaded):
            return self._next.pop(loaded)
        # The run with the fewest workers: each network is loaded by as few of them as can be.
        for run in sorted(self._fresh, key=lambda run: (at.count(run), run)):
            if self._peek(run):
                return self._next.pop(run)
        return self._again.popleft() if self._again else None

    def _peek(self, run: int) -> bool:
        if run not in self._next and run in self._fresh:
            task = next(self._fresh[run], None)
            if task is None:
                del self._fresh[run]
            else:
                self._next[run] = task
        return run in self._next

    def put(self, run: int, jobs: Sequence[Job], *, wait: bool = False) -> None:
        """Put jobs back, as one task; ``wait`` a little where another process is at them."""
        if jobs and not wait:
            self._again.append(self.task(run, jobs))
        elif jobs:
            self._later.append((time.monotonic() + WAIT_SECONDS, self.task(run, jobs)))

    def __bool__(self) -> bool:
        return bool(self._again or self._later or any(self._peek(run) for run in list(self._fresh)))


def _batched(jobs: Sequence[Job], size: int) -> Iterator[tuple[Job, ...]]:
    """Do what itertools.batched does from Python 3.12 on."""
    each = iter(jobs)
    while chunk := tuple(itertools.islice(each, size)):
        yield chunk
