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
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch

from phosphene.engine.memory import CUDA_MICRO_BATCH
from phosphene.errors import PhospheneError, RunError, SpecError, first_line, warn
from phosphene.executors.base import Event, Group, GroupEnded, GroupFailed, MapPlan, Stepped
from phosphene.executors.remote import RemoteRun, make_group
from phosphene.extras import require
from phosphene.mapper import Step
from phosphene.runs.live import read_live

RETRIES = 2  # Ray's own retries after the death of a process or node: three tries in all, as for every other failure
GRACE_SECONDS = 30.0  # for workers to end their step and write a checkpoint
QUEUED = 1.25  # groups handed to Ray for each that it has room for, so that no node waits for the driver
NOTE_SECONDS = 10.0  # until a cluster without a node that is large enough is noted: it may be starting one
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
        """Run the groups of maps that ``take`` returns as Ray tasks and yield their events; when ``stop`` is true, cancel them.

        Raises:
            SpecError: a worker asks for more than this machine has, on which Ray was started.
        """
        with self._ray_started() as alone:
            if alone and (shortage := self._shortage()):
                raise SpecError(f"{shortage} on this machine: ask for fewer threads or GPUs per worker.")
            note_at = time.monotonic() + NOTE_SECONDS
            work = self.ray.remote(
                num_cpus=self.threads,
                num_gpus=self.gpus,
                max_retries=RETRIES,
                scheduling_strategy="SPREAD" if self.cluster else "DEFAULT",
            )(make_group)
            remote = [RemoteRun.of(plan, self.threads) for plan in plans]
            under_way: dict[Any, Group] = {}
            try:
                while not stop():
                    self._count_room()
                    if time.monotonic() >= note_at:
                        note_at = math.inf
                        if shortage := self._shortage():
                            warn(f"{shortage} on any node yet: the maps wait for a node that has as much.")
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
    def _ray_started(self) -> Iterator[bool]:
        """Context in which Ray runs: join the cluster or start Ray here, shut it down at the end; if Ray runs in this process, do neither.

        Yields:
            Whether Ray was started here, so that it has this machine alone.

        Raises:
            RunError: no cluster answers, or Ray does not start.
        """
        if self.ray.is_initialized():
            yield False
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
            what = f"no Ray cluster answers at {address}" if address else "Ray does not start on this machine"
            fix = "Check RAY_ADDRESS." if address else "Map in one process, without executor and workers."
            raise RunError(f"{what}: {first_line(error)}. {fix}") from None
        finally:
            if main:
                signal.signal(signal.SIGTERM, handler)  # Ray replaces it
        try:
            yield not address
        finally:
            self.ray.shutdown()

    def _count_room(self) -> None:
        """Set ``self.workers`` to how many groups the cluster's CPUs or GPUs, busy or not, take now; at most the ``workers`` given."""
        resources = self.ray.cluster_resources()
        room = int(resources.get("GPU", 0) / self.gpus if self.gpus else resources.get("CPU", 1) / self.threads)
        self.workers = max(1, min(room, self.most or room))

    def _shortage(self) -> str:
        """Return what a worker asks for and what the nearest node has, as the beginning of a sentence; empty if a node has as much."""
        request = {"CPU": self.threads} | ({"GPU": self.gpus} if self.gpus else {})
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if any(all(node.get(kind, 0) >= number for kind, number in request.items()) for node in nodes):
            return ""
        no_node: dict[str, float] = {}
        nearest = max(
            nodes, key=lambda node: sum(min(node.get(kind, 0) / n, 1) for kind, n in request.items()), default=no_node
        )
        offer = {kind: nearest.get(kind, 0) for kind in request}
        words = [" and ".join(f"{n:g} {kind}{'s' * (n != 1)}" for kind, n in one.items()) for one in (request, offer)]
        return f"a worker asks for {words[0]}, and Ray has only {words[1]}"

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
