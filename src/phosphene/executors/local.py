"""The executor that starts nothing: maps are made in this process, one group after the other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from phosphene.engine import Engine
from phosphene.executors.base import Event, Group, RunRequest
from phosphene.executors.worker import Worker
from phosphene.mapper import group_size


class LocalExecutor:
    """This process, with all of torch's threads."""

    workers = 1

    def group_size(self, request: RunRequest) -> int:
        """Return how many maps of a run are made together."""
        return group_size(Engine(request.classifier, device=request.device), request.recipe)

    def run(
        self, requests: Sequence[RunRequest], take: "Callable[[], Group | None]", stop: Callable[[], bool]
    ) -> Iterator[Event]:
        """Make groups; the network of a run stays open until a group of another run comes."""
        opened: int | None = None
        with ExitStack() as stack:
            while not stop() and (group := take()) is not None:
                if opened != group.run:
                    stack.close()
                    worker = stack.enter_context(Worker(requests[group.run], stop))
                    opened = group.run
                yield from worker.make(group)
