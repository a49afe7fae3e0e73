"""Which maps are made next: groups of missing maps, and those of failed groups once more; results are counted on the way."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.executors.base import Event, Executor, Group, GroupEnded, GroupFailed, Made, MapPlan, MapSummary
from phosphene.runs.checkpoints import Checkpoints
from phosphene.runs.failures import note_failures
from phosphene.workflows.progress import TRIES, MapCounts, Progress


class GroupQueue:
    """Hands an executor groups of missing maps, and handles its events; maps of a failed group are queued again, for up to 3 tries.

    The arguments are those of :func:`phosphene.workflows.map.execute`.
    """

    def __init__(
        self,
        plans: Sequence[MapPlan],
        executor: Executor,
        on_progress: "Callable[[Progress], None] | None" = None,
        on_map: "Callable[[MapSummary], None] | None" = None,
    ) -> None:
        self.plans, self.executor, self.on_progress = plans, executor, on_progress
        self.on_map = on_map or (lambda _: None)
        self.counts = MapCounts(plans)
        sizes = [executor.group_size(plan) for plan in plans]
        self._fresh = (group for run, size in enumerate(sizes) for group in self._groups(run, size))
        self._again: deque[Group] = deque()
        self._tries: Counter[tuple[int, Job]] = Counter()
        self._counted: set[tuple[int, Job]] = set()

    def take(self) -> "Group | None":
        """Take the next group off the queue: maps to be retried first, ``None`` if none waits now.

        More groups may follow a ``None``, as a group may still fail.
        """
        return self._again.popleft() if self._again else next(self._fresh, None)

    def _groups(self, run: int, size: int) -> Iterator[Group]:
        """Yield the groups of missing maps of ``plans[run]``; count and report the cached ones on the way.

        Every ``size`` jobs, done or not, give up to two groups: maps to resume from a checkpoint, and other missing
        ones. So the places of the cuts depend on the plan alone, and a second command has the same groups.
        """
        plan = self.plans[run]
        finished_seeds, checkpoints = plan.run.listing(), Checkpoints(plan.run.path)
        jobs = iter(plan.jobs)
        while chunk := tuple(islice(jobs, size)):
            missing = [
                job for job in chunk if job.seed not in finished_seeds.get(job.index, ()) or not self._cached(run, job)
            ]
            checkpoint = checkpoints.find(chunk)
            if checkpoint is not None:
                unfinished = tuple(job for job in checkpoint.jobs if job in missing)
                if unfinished:
                    yield Group(run, checkpoint.jobs, unfinished)
                    missing = [job for job in missing if job not in unfinished]
                else:  # a process was killed between the last write and this
                    checkpoints.drop(checkpoint.jobs)
            if missing:
                yield Group(run, tuple(missing), tuple(missing))

    def _cached(self, run: int, job: Job) -> bool:
        """Return whether the run holds a job's map, undamaged.

        If so, the map is counted as cached, and its summary goes to ``on_map``.
        """
        plan = self.plans[run]
        try:
            one = plan.run.read(plan.run.folder(job, job.concept(plan.classifier.labels).label))
        except RunError:
            self.counts.count_damaged(run)
            return False
        self.counts.cached += 1
        self.on_map(MapSummary.of(one, made=False, run=run))
        return True

    def handle(self, event: Event) -> None:
        """Handle an event of an executor: count it, report it, and queue maps to be made again."""
        group = event.group
        if isinstance(event, Made):
            self._handle_made(event)
        elif isinstance(event, GroupFailed):
            self.counts.count_ended(group)
            self._handle_failed(event)
        elif isinstance(event, GroupEnded):
            self.counts.count_ended(group)
            if event.stopped:
                self._again.append(group)
        elif self.on_progress is not None:
            self.on_progress(self.counts.count_step(group, event.step, self.executor.workers))

    def _handle_made(self, event: Made) -> None:
        """Handle a ``Made`` event: write the map if its worker could not, count it once, and call ``on_map``."""
        if event.map is not None:
            self.plans[event.group.run].run.write(event.map)
        key = (event.group.run, Job(event.summary.index, event.summary.seed))
        if key not in self._counted:  # a group that was stopped and taken again may report a map twice
            self._counted.add(key)
            self.counts.count_made(event.group)
            self.on_map(event.summary)

    def _handle_failed(self, event: GroupFailed) -> None:
        """Queue the maps of a failed group again, each guilty map alone and the others together.

        Without a guilty map the group is cut into two halves.

        A map alone in its group is the guilty one. A final failure uses up all tries.
        """
        run = event.group.run
        jobs = tuple(job for job in event.group.missing if (run, job) not in self._counted)
        guilty = jobs if len(jobs) == 1 else tuple(job for job in jobs if job in event.guilty)
        half = len(jobs) // 2
        parts = [tuple(job for job in jobs if job not in guilty)] if guilty else [jobs[:half], jobs[half:]]
        self._again.extend(Group(run, part, part) for part in parts if part)
        for job in guilty:
            self._tries[run, job] += TRIES if event.final else 1
            if self._tries[run, job] < TRIES:
                self._again.append(Group(run, (job,), (job,)))
            else:
                self._give_up(run, job, event.error)

    def _give_up(self, run: int, job: Job, error: str) -> None:
        """Write a map that has failed in all tries into its run's ``failures.json``, and count it as failed."""
        plan = self.plans[run]
        label = job.concept(plan.classifier.labels).label
        row = {"index": job.index, "label": label, "seed": job.seed, "error": error, "tries": TRIES}
        note_failures(plan.run, [row])
        self.counts.count_failed(run, row)
