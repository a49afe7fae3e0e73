"""Workers on a Ray cluster: the one that RAY_ADDRESS names, or one of this machine alone.

Ray places the tasks, starts processes, shares GPUs by fractions, and runs a task again when its process or its node is
gone. Results go into the run directory where a worker sees it, and otherwise come back to be written by the driver.
What Ray does about authentication (RAY_AUTH_MODE=token) holds here as well: nothing of it is touched.
"""

import contextlib
import importlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine.engine import CUDA_MICRO_BATCH
from phosphene.errors import ExtraError, PhospheneError, RunError, first_line
from phosphene.mapper import Step
from phosphene.runs.beacon import leave_beacon, sees_beacon, take_beacon
from phosphene.samples import SamplePool
from phosphene.workflows.plan import MapPlan
from phosphene.workflows.protocol import (
    Broken,
    Died,
    Ended,
    Event,
    Found,
    MapNote,
    Slot,
    Stepped,
    Task,
    Tell,
    Ticket,
)
from phosphene.workflows.stores import DirectoryStore, ReturningStore, Store
from phosphene.workflows.worker import Session, open_ticket

RETRIES = 2  # by Ray, after the death of a process or node: three tries in all, as for every other failure
GRACE_SECONDS = 30.0
ROOM_SECONDS = 5.0  # a cluster may grow
WAITING = 1.25  # tasks handed to Ray for each that it has room for, so that no node waits for the driver


class Ray:
    """Workers on a Ray cluster.

    Args:
        workers: Most tasks at once; by default as many as there is room for.
        threads: CPUs of each.
        gpus: GPUs of each; 0.25 has four share one.

    Raises:
        ExtraError: Ray is not installed.
    """

    def __init__(self, workers: "int | None" = None, *, threads: int = 1, gpus: float = 0.0) -> None:
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name == "ray"
            what = "not installed" if absent else f"broken: {first_line(error)}"
            raise ExtraError(f"ray is {what}: pip install phosphene[ray].") from None
        self.most, self.threads, self.gpus = workers, threads, gpus
        self.workers = workers or 1
        self.ours = False
        self.shared: bool | None = None  # whether workers see the run directory; unknown before the first answer
        self._at: dict[Any, Task] = {}
        self._held: dict[int, tuple[DirectoryStore, list[Job], list[Job]]] = {}  # task -> claimed here, busy elsewhere
        self._looked = -math.inf

    def together(self, plan: MapPlan) -> int:
        """How many maps of a plan a worker makes together: the driver's machine need not have the workers' GPU."""
        if not self.gpus:
            return plan.together("cpu")
        pictures = max(1, CUDA_MICRO_BATCH // math.prod(plan.classifier.input.size))
        return max(1, min(pictures, plan.classifier.batch or pictures) // plan.recipe.batch_size)

    def open(self, plans: Sequence[MapPlan], tickets: Sequence[Ticket], tell: Tell, stop: Callable[[], bool]) -> None:
        """Join the cluster, or start one here."""
        self.plans, self.tickets, self.tell = plans, tickets, tell
        if not self.ray.is_initialized():
            quiet = {"log_to_driver": False, "logging_level": "error"}
            try:
                self.ray.init(**quiet if os.environ.get("RAY_ADDRESS") else quiet | {"include_dashboard": False})
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = os.environ.get("RAY_ADDRESS", "on this machine")
                raise RunError(f"no Ray cluster answers {where}: {first_line(error)}. Check RAY_ADDRESS.") from None
            self.ours = True
        for ticket in tickets:
            leave_beacon(ticket.run, ticket.driver)
        self.stores = [DirectoryStore(ticket.run, ticket.driver) for ticket in tickets]
        self.work = self.ray.remote(
            num_cpus=self.threads, num_gpus=self.gpus, max_retries=RETRIES, max_calls=0, scheduling_strategy="SPREAD"
        )(_work)

    def slots(self) -> list[Slot]:
        """Return room for tasks: a few more than the cluster can work on now, never more."""
        now = time.monotonic()
        if now - self._looked > ROOM_SECONDS:
            there = self.ray.cluster_resources()
            room = int(there.get("GPU", 0) / self.gpus if self.gpus else there.get("CPU", 1) / self.threads)
            self.workers, self._looked = max(1, min(room, self.most or room)), now
        return [Slot(number) for number in range(len(self._at), math.ceil(self.workers * WAITING))]

    def submit(self, slot: Slot, task: Task) -> None:
        """Hand a task to Ray; where workers may not see the run directory, what is there is left out before."""
        if not self.shared:
            store, labels = self.stores[task.run], self.plans[task.run].classifier.labels
            mine: list[Job] = []
            busy: list[Job] = []
            for job in task.jobs:
                one = store.there(job, labels[job.index])
                if one is not None:
                    self.tell(Found(task.number, MapNote.of(one, made=False)))
                else:
                    (mine if store.claim(job) else busy).append(job)
            self._held[task.number] = (store, mine, busy)
            if not mine:
                self._end(task, Ended(task.number))
                return
            task = Task(task.number, task.run, tuple(mine))
        reference = self.work.remote(self.tickets[task.run], task, self.threads)
        self._at[reference] = task

    def wait(self, seconds: float) -> None:
        """Tell what has come back."""
        if not self._at:
            return
        ready, _ = self.ray.wait(list(self._at), num_returns=1, timeout=seconds)
        for reference in ready:
            task = self._at.pop(reference)
            try:
                shared, events = self.ray.get(reference)
            except self.ray.exceptions.TaskCancelledError:
                self._end(task, Ended(task.number, stopped=True))
            except self.ray.exceptions.RayTaskError as error:
                self.tell(Broken(RunError(f"a worker failed: {first_line(error.cause)}.")))
            except self.ray.exceptions.RayError as error:  # its process or node is gone, and Ray has tried again
                self._end(task, Died(task.number, f"its worker died ({first_line(error)})", final=True))
            else:
                self.shared = shared and self.shared is not False
                for event in events:
                    if isinstance(event, Ended):
                        self._end(task, event)
                    else:
                        self.tell(event)

    def _end(self, task: Task, event: "Ended | Died") -> None:
        """Give back what was claimed here, and tell how a task ended."""
        store, mine, busy = self._held.pop(task.number, (None, [], []))
        if store is not None:
            for job in mine:
                store.release(job)
        if isinstance(event, Ended):
            event = Ended(event.task, (*event.busy, *busy), event.stopped)
        self.tell(event)

    def close(self) -> None:
        """Cancel what runs, which writes checkpoints where it can, and leave the cluster."""
        for reference in self._at:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.cancel(reference, force=False, recursive=False)
        if self._at:
            self.ray.wait(list(self._at), num_returns=len(self._at), timeout=GRACE_SECONDS)
        self._at = {}
        for store in getattr(self, "stores", []):
            store.close()
        for ticket in getattr(self, "tickets", []):
            take_beacon(ticket.run, ticket.driver)
        if self.ours:
            self.ray.shutdown()


# --- in the worker: Ray keeps the process for further tasks, and with it the network that was loaded last

_loaded: dict[tuple[str, str], tuple[Classifier, SamplePool]] = {}


def _work(ticket: Ticket, task: Task, threads: int) -> tuple[bool, list[Event]]:
    """Do a task; return whether the run directory is seen from here, and what has happened."""
    shared = sees_beacon(ticket.run, ticket.driver)
    events: list[Event] = []
    torch.set_num_threads(threads)
    with _asked_to_stop() as asked:
        try:
            key = (ticket.model_sha256, ticket.samples_sha256)
            if key not in _loaded:
                _loaded.clear()
                _loaded[key] = open_ticket(ticket)
            store: Store = DirectoryStore(ticket.run, ticket.driver) if shared else ReturningStore()
            with Session(ticket, *_loaded[key], asked.is_set, store) as session:
                session.work(task, lambda event: _keep(events, event))
        except PhospheneError as error:
            events.append(Broken(error))
    return shared, events


def _keep(events: list[Event], event: Event) -> None:
    """Keep what the driver must hear; of steps only the last, without the maps."""
    if isinstance(event, Stepped):
        if event.step.number < event.step.total:
            return
        step = event.step
        event = Stepped(event.task, event.jobs, Step(step.number, step.total, step.loss, step.hits, torch.empty(0)))
    events.append(event)


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Turn what Ray sends when a task is cancelled, and when a node is taken away, into a stop between two steps."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
