"""What a process that Ray starts does: open the run that it is sent, and make groups of its maps."""

import contextlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from phosphene.errors import RunError
from phosphene.executors.base import Event, Group, MapPlan, Stepped
from phosphene.executors.interrupt import on_interrupt
from phosphene.executors.worker import Worker, open_worker
from phosphene.runs import RunDirectory
from phosphene.runs.lock import holder
from phosphene.samples import load_samples
from phosphene.sources import load


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


def make_group(remote: RemoteRun, group: Group) -> list[Event]:
    """The body of a Ray task, in a worker process: make the missing maps of a group; return their events, except those of steps."""
    torch.set_num_threads(remote.threads)
    _stop.clear()
    with on_interrupt(_stop.set):  # what Ray sends when a group is cancelled, or a node taken away
        if remote not in _opened:
            _stack.close()
            _opened.clear()
            _opened[remote] = _stack.enter_context(open_worker(remote.open(), _stop.is_set, remote.writable))
        worker = _opened[remote]
        return [event for event in (*worker.make(group), *worker.flush()) if not isinstance(event, Stepped)]
