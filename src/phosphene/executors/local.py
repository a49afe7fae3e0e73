"""The executor that starts nothing: maps are made in this process, one group after the other."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack

from phosphene.executors.base import Event, Group, MapPlan
from phosphene.executors.worker import Worker, open_worker


class LocalExecutor:
    """Executor that makes maps in this process, with all of torch's threads, one group after the other."""

    workers = 1

    def group_size(self, plan: MapPlan) -> int:
        """Return how many maps of a plan are made together on this machine."""
        return plan.group_size

    def run(
        self, plans: Sequence[MapPlan], take: "Callable[[], Group | None]", stop: Callable[[], bool]
    ) -> Generator[Event]:
        """Make the groups that ``take`` returns, until there are none or ``stop()`` is true, and yield events."""
        worker: Worker | None = None
        with ExitStack() as stack:
            while not stop() and (group := take()) is not None:
                if worker is None or worker.plan is not plans[group.run]:
                    if worker is not None:
                        yield from worker.flush()
                    stack.close()
                    worker = stack.enter_context(open_worker(plans[group.run], stop))
                yield from worker.make(group)
            if worker is not None:
                yield from worker.flush()
