"""The executor that starts nothing: maps are made in this process, one group after the other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from phosphene.executors.base import Event, Group, MapPlan
from phosphene.executors.worker import open_worker


class LocalExecutor:
    """This process, with all of torch's threads."""

    workers = 1

    def group_size(self, plan: MapPlan) -> int:
        """Return how many maps of a run are made together."""
        return plan.group_size

    def run(
        self, plans: Sequence[MapPlan], take: "Callable[[], Group | None]", stop: Callable[[], bool]
    ) -> Iterator[Event]:
        """Make groups; the network of a run stays open until a group of another run comes."""
        opened: int | None = None
        with ExitStack() as stack:
            while not stop() and (group := take()) is not None:
                if opened != group.run:
                    stack.close()
                    worker = stack.enter_context(open_worker(plans[group.run], stop))
                    opened = group.run
                yield from worker.make(group)
