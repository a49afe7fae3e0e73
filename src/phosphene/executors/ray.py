"""The executor on Ray: the cluster that RAY_ADDRESS names, or a Ray of this machine alone.

Ray places the groups, starts processes, shares GPUs by fractions, and runs a group again when its process or node dies.
A worker that sees the driver's run directory writes its maps there; from others they come back and the driver writes
them. Ray's authentication (``RAY_AUTH_MODE=token``) holds as it is configured.
"""

import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from phosphene.engine.memory import CUDA_MICRO_BATCH
from phosphene.errors import PhospheneError, RunError, first_line
from phosphene.executors.base import Event, Group, GroupEnded, GroupFailed, Made, MapPlan, MapSummary, Stepped
from phosphene.executors.interrupt import on_interrupt
from phosphene.executors.worker import Worker, open_worker
from phosphene.extras import require
from phosphene.mapper import Step
from phosphene.runs import RunDirectory
from phosphene.runs.live import read_live
from phosphene.runs.lock import holder
from phosphene.samples import load_samples
from phosphene.sources import load

RETRIES = 2  # Ray's own retries after the death of a process or node: three tries in all, as for every other failure
GRACE_SECONDS = 30.0  # for workers to end their step and write a checkpoint
QUEUED = 1.25  # groups handed to Ray for each that it has room for, so that no node waits for the driver
STORE_BYTES = 200_000_000  # size of a local Ray's object store, whose workers write their maps themselves


class RayExecutor:
    """Executor that makes groups of maps in worker processes, which Ray starts on a cluster or on this machine.

    Args:
        workers: Most groups at once; on a cluster by default as many as there is room for.
        threads: CPU threads per worker; by default 1 on a cluster, and the cores divided by the workers here.
        gpus: GPUs per worker; 0.25 has four workers share one.
        cluster: Join the cluster that ``RAY_ADDRESS`` names, if it is set; without, Ray is started on this machine.

    Raises:
        ExtraError: Ray is not installed.
    """

    def __init__(
        self,
        workers: "int | None" = None,
        *,
        threads: "int | None" = None,
        gpus: float = 0.0,
        cluster: bool = True,
    ) -> None:
        self.ray: Any = require("ray", "ray")
        self.most, self.gpus, self.cluster = workers, gpus, cluster
        self.threads = threads or (1 if cluster else max(1, torch.get_num_threads() // (workers or 1)))
        self.workers = workers or 1

    def group_size(self, plan: MapPlan) -> int:
        """Return how many maps a worker makes at once: with ``gpus`` what fills one; else ``plan.group_size`` here, 1 on a cluster."""
        if not self.gpus:
            return 1 if self.cluster else plan.group_size
        images = max(1, CUDA_MICRO_BATCH // math.prod(plan.classifier.input.size))
        return max(1, min(images, plan.classifier.batch or images) // plan.recipe.batch_size)

    def run(
        self, plans: Sequence[MapPlan], take: "Callable[[], Group | None]", stop: Callable[[], bool]
    ) -> Generator[Event]:
        """Run the groups of maps that ``take`` returns as Ray tasks and yield their events; when ``stop`` is true, cancel them."""
        with self._ray_started():
            work = self.ray.remote(
                num_cpus=self.threads,
                num_gpus=self.gpus,
                max_retries=RETRIES,
                scheduling_strategy="SPREAD" if self.cluster else "DEFAULT",
            )(_make_group)
            remote = [RemoteRun.of(plan, self.threads) for plan in plans]
            under_way: dict[Any, Group] = {}
            try:
                while not stop():
                    self._count_room()
                    while len(under_way) < math.ceil(self.workers * QUEUED) and (group := take()) is not None:
                        under_way[work.remote(remote[group.run], group)] = group
                    if not under_way:
                        return
                    yield from self._wait_for_finished(under_way, 1.0)
                    yield from _steps_from_run_directories(plans, list(under_way.values()))
                self._cancel(under_way)
                while under_way:
                    yield from self._wait_for_finished(under_way, 0)
            finally:
                self._cancel(under_way)

    @contextlib.contextmanager
    def _ray_started(self) -> Iterator[None]:
        """Context in which Ray runs: join the cluster or start Ray here, shut it down at the end; if Ray runs in this process, do neither.

        Raises:
            RunError: no cluster answers, or Ray does not start.
        """
        if self.ray.is_initialized():
            yield
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        address = os.environ.get("RAY_ADDRESS") if self.cluster else None
        if not address:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers here share the GPU as it is
            options |= {"address": "local", "include_dashboard": False, "object_store_memory": STORE_BYTES}
            if self.most:
                options["num_cpus"] = self.most * self.threads
        main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self.ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            fix = f"no Ray cluster answers at {address}" if address else "Ray does not start on this machine"
            raise RunError(f"{fix}: {first_line(error)}. Check RAY_ADDRESS.") from None
        finally:
            if main:
                signal.signal(signal.SIGTERM, handler)  # Ray replaces it
        try:
            yield
        finally:
            self.ray.shutdown()

    def _count_room(self) -> None:
        """Set ``self.workers`` to how many groups the cluster's CPUs or GPUs, busy or not, take now; at most the ``workers`` given."""
        resources = self.ray.cluster_resources()
        room = int(resources.get("GPU", 0) / self.gpus if self.gpus else resources.get("CPU", 1) / self.threads)
        self.workers = max(1, min(room, self.most or room))

    def _wait_for_finished(self, under_way: dict[Any, Group], seconds: float) -> Iterator[Event]:
        """Wait up to ``seconds`` for a Ray task to end; if one does, remove it from ``under_way``, yield its events or raise its error.

        A task whose worker died yields a GroupFailed, a cancelled one a GroupEnded. Errors are PhospheneErrors.
        """
        ready, _ = self.ray.wait(list(under_way), num_returns=1, timeout=seconds)
        for reference in ready:
            group = under_way.pop(reference)
            errors = self.ray.exceptions
            try:
                events = self.ray.get(reference)
            except errors.TaskCancelledError:
                yield GroupEnded(group, stopped=True)
            except errors.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, PhospheneError):
                    raise cause from None
                raise RunError(f"a worker failed: {type(cause).__name__}: {first_line(cause)}.") from None
            except errors.RayError as error:  # its process or node is gone, and Ray has tried again
                yield GroupFailed(group, f"its worker died ({first_line(error)})", final=True)
            else:
                yield from events

    def _cancel(self, under_way: dict[Any, Group]) -> None:
        """Cancel all Ray tasks in ``under_way``, wait up to 30 s for their checkpoints, and remove those that still run from ``under_way``.

        Those that have ended stay in ``under_way``, so that the caller can take their events.
        """
        if not under_way:
            return
        for reference in under_way:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.cancel(reference, force=False, recursive=False)
        _, late = self.ray.wait(list(under_way), num_returns=len(under_way), timeout=GRACE_SECONDS)
        for reference in late:
            del under_way[reference]


def _steps_from_run_directories(plans: Sequence[MapPlan], groups: Sequence[Group]) -> Iterator[Event]:
    """Yield a ``Stepped`` event per group of maps being made, from the step and loss that its Ray worker wrote into the run directory."""
    for run in {group.run for group in groups}:
        beats = {beat.maps: beat for beat in read_live(plans[run].run.path)}
        for group in groups:
            beat = beats.get(tuple((job.index, job.seed) for job in group.jobs)) if group.run == run else None
            if beat is not None:
                loss = math.nan if beat.loss is None else beat.loss
                yield Stepped(group, Step(beat.step, beat.steps, loss, beat.hits or 0.0, torch.empty(0)))


# --- in the worker process


@dataclass(frozen=True)
class RemoteRun:
    """What a worker process is sent to open a run: specs of model and samples, hashes to check them, settings.

    Attributes:
        run: The run directory, absolute.
        token: Token of the driver's lock on the run directory; empty if not even the driver sees it.
        model: Model spec, with ``model_sha256``.
        trust: Whether code that comes with the model may run, as it did here.
        samples: Sample spec, with ``samples_sha256``.
        settings: What is sent as it is: ``recipe``, ``device``, ``precision``, ``compile`` and ``frames`` of the plan.
        threads: CPU threads of the worker.
        folder: Where relative paths of the specs begin.
    """

    run: Path
    token: str
    model: str
    model_sha256: str
    trust: bool
    samples: str
    samples_sha256: str
    settings: dict[str, Any] = field(hash=False)
    threads: int
    folder: str

    @classmethod
    def of(cls, plan: MapPlan, threads: int) -> "RemoteRun":
        """Return the ``RemoteRun`` that describes a plan to worker processes with ``threads`` CPU threads each."""
        classifier, pool = plan.classifier, plan.pool
        return cls(
            run=plan.run.path.absolute(),
            token=holder(plan.run.path).get("token", ""),
            model=classifier.spec,
            model_sha256=plan.facts["model"]["sha256"],
            trust=classifier.trusted,
            samples=pool.spec,
            samples_sha256=pool.sha256,
            settings={name: getattr(plan, name) for name in ("recipe", "device", "precision", "compile", "frames")},
            threads=threads,
            folder=os.getcwd(),  # noqa: PTH109
        )

    def open(self) -> MapPlan:
        """In the worker process, change to ``folder``, load model and samples, return the MapPlan; RunError if they are not the driver's.

        Raises:
            PhospheneError: they cannot be loaded here.
            RunError: they are not those that were planned with.
        """
        if Path(self.folder).is_dir():  # a worker on another machine may not have it
            os.chdir(self.folder)
        classifier = load(self.model, trust=self.trust)
        if classifier.sha256 != self.model_sha256:
            raise RunError(f"{self.model} has other weights in a worker than in the plan: leave the file unchanged.")
        pool = load_samples(self.samples, classifier.input.shape)
        if pool.sha256 != self.samples_sha256:
            raise RunError(f"samples {self.samples} differ in a worker from those that were planned with.")
        return MapPlan(classifier=classifier, pool=pool, run=RunDirectory(self.run), **self.settings)

    def writable(self) -> bool:
        """Return whether this process sees the run directory that the driver has locked, and the driver's lock still holds."""
        return holder(self.run).get("token") == self.token


_stack = contextlib.ExitStack()
_opened: dict[RemoteRun, Worker] = {}  # Ray keeps the process, and with it the run that was opened last
_stop = threading.Event()


def _make_group(remote: RemoteRun, group: Group) -> list[Event]:
    """The body of a Ray task, in a worker process: make the missing maps of a group; return their events, except those of steps."""
    torch.set_num_threads(remote.threads)
    _stop.clear()
    with on_interrupt(_stop.set):  # what Ray sends when a group is cancelled, or a node taken away
        if remote not in _opened:
            _stack.close()
            _opened.clear()
            _opened[remote] = _stack.enter_context(open_worker(remote.open(), _stop.is_set, remote.writable))
        events: list[Event] = []
        missing = list(group.missing)
        if remote.writable():  # an earlier try, whose process died, may have written some
            run, labels = RunDirectory(remote.run), _opened[remote].plan.classifier.labels
            for job in group.missing:
                with contextlib.suppress(RunError):
                    one = run.read(run.folder(job, job.concept(labels).label))
                    events.append(Made(group, MapSummary.of(one, made=True, run=group.run)))
                    missing.remove(job)
        if not missing:
            return [*events, GroupEnded(group)]
        worker = _opened[remote]
        made = [*worker.make(replace(group, missing=tuple(missing))), *worker.flush()]
        return events + [replace(event, group=group) for event in made if not isinstance(event, Stepped)]
