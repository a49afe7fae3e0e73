"""Workers on this machine: a process each, started afresh, with its share of the threads."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from phosphene.errors import PhospheneError, RunError, first_line
from phosphene.mapper import Step
from phosphene.workflows.plan import MapPlan
from phosphene.workflows.protocol import Broken, Died, Ended, Event, Slot, Stepped, Task, Tell, Ticket
from phosphene.workflows.worker import Session, open_ticket

SAY_SECONDS = 0.5  # between two steps of a task that the driver hears of
GRACE_SECONDS = 30.0  # for a worker to end its step and write a checkpoint, when it is asked to
STARTS = 3  # of a worker that dies before it is ready
PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


@dataclass
class Worker:
    """A worker as its driver sees it."""

    process: BaseProcess
    pipe: Connection
    task: "Task | None" = None
    loaded: "int | None" = None
    ready: bool = False


class Local:
    """Workers on this machine.

    Args:
        workers: How many processes.
        threads: Of each; by default torch's threads are divided between them.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; several workers share it.
    """

    def __init__(self, workers: int, *, threads: "int | None" = None, device: str = "auto") -> None:
        self.workers = workers
        self.threads = threads or max(1, torch.get_num_threads() // workers)
        self.device = device
        self._team: list[Worker] = []
        self._false_starts = 0

    def together(self, plan: MapPlan) -> int:
        """How many maps of a plan a worker makes together."""
        return plan.together(self.device)

    def open(self, plans: Sequence[MapPlan], tickets: Sequence[Ticket], tell: Tell, stop: Callable[[], bool]) -> None:
        """Start the workers."""
        self.tickets, self.tell, self.stop = list(tickets), tell, stop
        most = min(self.workers, sum(len(plan.jobs) for plan in plans))
        self._team = [self._start() for _ in range(max(1, most))]

    def slots(self) -> list[Slot]:
        """Return the workers that have nothing to do."""
        return [Slot(number, each.loaded) for number, each in enumerate(self._team) if each.task is None]

    def submit(self, slot: Slot, task: Task) -> None:
        """Send a task to a worker; one that has died is replaced."""
        each = self._team[slot.number]
        if not each.process.is_alive():
            each = self._team[slot.number] = self._start()
        each.task, each.loaded = task, task.run
        with contextlib.suppress(OSError):  # it has died just now; wait() will see
            each.pipe.send(task)

    def wait(self, seconds: float) -> None:
        """Tell what the workers have said, and who of them has died."""
        ready = set(wait([part for each in self._team for part in (each.pipe, each.process.sentinel)], seconds))
        for number, each in enumerate(self._team):
            if each.pipe in ready:
                self._hear(each)
            if each.process.sentinel in ready and not (each.pipe in ready and self._hear(each)):
                self._bury(number, each)

    def _hear(self, each: Worker) -> bool:
        """Pass on what a worker has said; say whether there was anything."""
        heard = False
        with contextlib.suppress(EOFError, OSError):
            while each.pipe.poll():
                event = each.pipe.recv()
                heard = each.ready = True
                self._false_starts = 0
                if event is None:  # it is ready
                    continue
                if isinstance(event, Ended):
                    each.task = None
                self.tell(event)
        return heard

    def _bury(self, number: int, each: Worker) -> None:
        task, each.task = each.task, None
        why = f"its worker died ({_how(each.process.exitcode)})"
        if not each.ready:
            self._false_starts += 1
            if self._false_starts >= STARTS:
                self.tell(Broken(RunError(f"workers die while they start ({_how(each.process.exitcode)}): try fewer.")))
                return
        each.pipe.close()
        each.process.join()
        self._team[number] = self._start()
        if task is not None:
            self.tell(Died(task.number, why))

    def close(self) -> None:
        """Ask those at work to stop, the others to go; whoever does not within the grace is killed."""
        for each in self._team:
            with contextlib.suppress(OSError):
                each.pipe.send(None)
            if not each.ready:
                each.process.kill()
            elif each.task is not None:
                each.process.terminate()
        limit = time.monotonic() + GRACE_SECONDS
        for each in self._team:
            while each.process.is_alive() and time.monotonic() < limit:
                with contextlib.suppress(EOFError, OSError):  # a full pipe would keep it from ending
                    while each.pipe.poll():
                        each.pipe.recv()
                each.process.join(0.05)
            if each.process.is_alive():
                each.process.kill()
            each.process.join()
            each.pipe.close()
        self._team = []

    def _start(self) -> Worker:
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in whatever state they are
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_main, args=(theirs, self.tickets, self.threads, os.getpid()), name="phosphene worker", daemon=True
        )
        with _deaf():
            process.start()
        theirs.close()
        return Worker(process, ours)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Have a process that is started ignore Ctrl-C from its first moment on, and not only once it can say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _how(code: "int | None") -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


# --- in the worker


def _main(pipe: Connection, tickets: Sequence[Ticket], threads: int, parent: int) -> None:
    """Do tasks until the driver says that it is enough, or is no more."""
    asked = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to all: the driver decides
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    _leave_with(parent, asked)
    torch.set_num_threads(threads)
    say = _Saying(pipe, asked)
    session: Session | None = None
    loaded: int | None = None
    with contextlib.ExitStack() as opened:
        try:
            pipe.send(None)
            while not asked.is_set():
                if not pipe.poll(0.2):
                    continue
                task = pipe.recv()
                if task is None:
                    break
                if session is None or loaded != task.run:
                    opened.close()
                    classifier, pool = open_ticket(tickets[task.run])
                    session = opened.enter_context(Session(tickets[task.run], classifier, pool, asked.is_set))
                    loaded = task.run
                session.work(task, say)
        except PhospheneError as error:
            say(Broken(error))
        except (EOFError, OSError):  # the driver has gone
            pass
        except Exception as error:  # noqa: BLE001  (whatever it is, the driver says it in a line)
            say(Broken(RunError(f"a worker failed: {type(error).__name__}: {first_line(error)}.")))


class _Saying:
    """Tells the driver what happens; of steps only some, and without the maps themselves."""

    def __init__(self, pipe: Connection, asked: threading.Event) -> None:
        self.pipe, self.asked, self.said = pipe, asked, 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped):
            now, step = time.monotonic(), event.step
            if now - self.said < SAY_SECONDS and step.number < step.total:
                return
            self.said = now
            light = Step(step.number, step.total, step.loss, step.hits, torch.empty(0))
            event = Stepped(event.task, event.jobs, light)
        try:
            self.pipe.send(event)
        except OSError:  # nobody listens any more: lay the work down
            self.asked.set()


def _leave_with(parent: int, asked: threading.Event) -> None:
    """See that this process ends soon after its parent, with a checkpoint if there is time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        asked.set()
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
