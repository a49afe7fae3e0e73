"""An executor that makes as many maps together as a test wants, as a GPU does."""

from phosphene.executors import LocalExecutor
from phosphene.executors.base import MapPlan


class InGroups(LocalExecutor):
    """Makes maps in this process in groups of ``size``."""

    def __init__(self, size: int) -> None:
        self.size = size

    def group_size(self, _: MapPlan) -> int:
        return self.size
