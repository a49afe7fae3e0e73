"""Where an execution stands, over all workers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from phosphene.mapper import Step, passes_per_map
from phosphene.workflows.plan import MapPlan
from phosphene.workflows.protocol import Task


@dataclass(frozen=True)
class Progress:
    """Where an execution stands: which maps are being made, and what the last step said.

    Attributes:
        maps_done: Maps that are there.
        maps_total: Maps of all plans.
        labels: Names of the maps that the last step was taken on.
        step: That step.
        share: Of all passes through networks, those that are done; in [0, 1]. ``None`` where nobody counts.
        left: Seconds to go, as far as one can tell; ``None`` where nobody counts.
        rate: Maps a minute, over all workers, since the beginning; ``None`` where nobody counts.
        workers: Workers that are at it.
        failed: Maps that could not be made.
    """

    maps_done: int
    maps_total: int
    labels: tuple[str, ...]
    step: Step
    share: "float | None" = None
    left: "float | None" = None
    rate: "float | None" = None
    workers: int = 1
    failed: int = 0


class Tally:
    """Counts in passes, the currency in which recipes are compared: maps of several recipes cost differently.

    Args:
        plans: What is to be done.
        workers: How many tasks are worked on at once, at most.
    """

    def __init__(self, plans: Sequence[MapPlan], workers: int) -> None:
        self.cost = [passes_per_map(plan.recipe) for plan in plans]
        self.maps = sum(len(plan.jobs) for plan in plans)
        self.total = sum(plan.passes for plan in plans)
        self.workers = workers
        self.there = self.made = self.lost = 0
        self.done = self.worked = 0.0  # passes of finished maps; of those, what was made now
        self.first: dict[int, float] = {}  # task -> passes that a checkpoint brought
        self.now: dict[int, float] = {}  # task -> passes of its unfinished maps
        self.began: float | None = None

    def found(self, task: Task, *, made: bool) -> None:
        """Count a map."""
        self.done += self.cost[task.run]
        self.now[task.number] = max(0.0, self.now.get(task.number, 0.0) - self.cost[task.run])
        if made:
            self.made += 1
            self.worked += self.cost[task.run]
        else:
            self.there += 1

    def failed(self, run: int) -> None:
        """Count a map that could not be made: nothing more is to be expected of it."""
        self.lost += 1
        self.total -= self.cost[run]

    def ended(self, task: Task) -> None:
        """Forget what a task had begun."""
        self.now.pop(task.number, None)
        self.first.pop(task.number, None)

    def stepped(self, task: Task, names: tuple[str, ...], step: Step) -> Progress:
        """Count a step of a group of maps; return where everything stands."""
        if self.began is None:
            self.began = time.monotonic()
        reached = len(names) * self.cost[task.run] * step.number / step.total
        self.now[task.number] = reached
        self.first.setdefault(task.number, reached)
        under_way = sum(self.now.values())
        elapsed = time.monotonic() - self.began
        work = self.worked + max(0.0, under_way - sum(self.first.values()))
        left = (self.total - self.done - under_way) * elapsed / work if work > 0 and elapsed > 0 else None
        return Progress(
            self.there + self.made,
            self.maps,
            names,
            step,
            share=(self.done + under_way) / max(self.total, 1),
            left=left,
            rate=self.made / elapsed * 60 if elapsed > 0 else None,
            workers=self.workers,
            failed=self.lost,
        )
