"""The executor that starts nothing: tasks are done here, one by one, with the networks that were planned with."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from phosphene.workflows.plan import MapPlan
from phosphene.workflows.protocol import Event, Slot, Task, Tell, Ticket
from phosphene.workflows.worker import Session


class _Outside(BaseException):
    """What whoever watches has raised: no failure of a map."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Inline:
    """One worker, this process, with all of torch's threads.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """

    workers = 1

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self.loaded: int | None = None
        self.session: Session | None = None
        self.task: Task | None = None
        self._open = ExitStack()

    def together(self, plan: MapPlan) -> int:
        """How many maps of a plan are made together."""
        return plan.together(self.device)

    def open(self, plans: Sequence[MapPlan], tickets: Sequence[Ticket], tell: Tell, stop: Callable[[], bool]) -> None:
        """Begin."""
        self.plans, self.tickets, self.tell, self.stop = plans, tickets, tell, stop

    def slots(self) -> list[Slot]:
        """Return this process, unless it has a task."""
        return [] if self.task is not None else [Slot(0, self.loaded)]

    def submit(self, slot: Slot, task: Task) -> None:
        """Take a task; :meth:`wait` does it."""
        self.task = task

    def wait(self, seconds: float) -> None:
        """Do the task that was handed in."""
        task, self.task = self.task, None
        if task is None:
            return
        if self.session is None or self.loaded != task.run:
            self._open.close()
            plan = self.plans[task.run]
            session = Session(self.tickets[task.run], plan.classifier, plan.pool, self.stop)
            self.session, self.loaded = self._open.enter_context(session), task.run

        def tell(event: Event) -> None:
            try:
                self.tell(event)
            except Exception as error:
                raise _Outside(error) from error

        try:
            self.session.work(task, tell)
        except _Outside as outside:
            raise outside.error from None

    def close(self) -> None:
        """Give the network back as it was."""
        self._open.close()
