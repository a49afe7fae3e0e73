"""Runs that this server has started: child processes that end with it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from phosphene.errors import printable
from phosphene.web.form import FormError, Order

MOST_RUNNING, MOST_KEPT = 4, 100
LAST_LINES, LONGEST_LINE = 40, 2000
PATIENCE_SECONDS = 10.0
INTERRUPTED = 130


class Job:
    """One ``phosphene map`` in a process of its own.

    Args:
        order: What to run.
        out: Its run directory.
    """

    def __init__(self, order: Order, out: Path) -> None:
        self.order, self.name = order, order.name
        # A list of words and no shell. -P: a file of the working directory is no library.
        words = [sys.executable, "-P", "-m", "phosphene", "map", f"--out={out}", *order.words]
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self.cancelled = False
        self.process = subprocess.Popen(  # noqa: S603
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl+C is for the server, which passes it on
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None  # noqa: S101
        with self.process.stderr as stream:
            while line := stream.readline(LONGEST_LINE):
                if printable(line):
                    self.lines.append(printable(line))

    @property
    def running(self) -> bool:
        """Whether the process still exists."""
        return self.process.poll() is None

    @property
    def state(self) -> str:
        """Running, cancelling, cancelled, finished or failed."""
        code = self.process.poll()
        if code is None:
            return "cancelling" if self.cancelled else "running"
        if code == 0:
            return "finished"
        return "cancelled" if self.cancelled or code == INTERRUPTED else "failed"

    @property
    def message(self) -> str:
        """What it said last: of a failed one, its one line of complaint."""
        if not self.running:
            self.reader.join(timeout=1)
        said = list(self.lines)
        if self.state == "failed":
            own = [line.removeprefix("phosphene: ") for line in said if line.startswith("phosphene: ")]
            return (own or said or [f"it ended with code {self.process.returncode} and said nothing."])[-1]
        return said[-1] if said else ""

    def cancel(self) -> None:
        """Ask it to stop, as Ctrl+C does: finished maps stay."""
        self.cancelled = True
        if self.running:
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def end(self, limit: float) -> None:
        """Wait for it until ``limit`` (of the monotonic clock), then end it and what it has started."""
        try:
            self.process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
            self.process.wait()


class Jobs:
    """The jobs of a server, one a run directory."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, order: Order, out: Path) -> Job:
        """Start a run.

        Raises:
            FormError: the run is being made already, or too many are.
        """
        with self._lock:
            running = [job for job in self._jobs.values() if job.running]
            if any(job.name == order.name for job in running):
                raise FormError(f"{order.name} is being made at this moment: choose another name, or wait.")
            if len(running) >= MOST_RUNNING:
                raise FormError(
                    f"{len(running)} runs are being made; more would only slow them all down. Wait for one."
                )
            self._jobs.pop(order.name, None)
            self._jobs[order.name] = job = Job(order, out)
            for name in [name for name, one in self._jobs.items() if not one.running][:-MOST_KEPT]:
                del self._jobs[name]
            return job

    def get(self, name: str) -> "Job | None":
        """Return the latest job of a run, if this server started one."""
        with self._lock:
            return self._jobs.get(name)

    def all(self) -> list[Job]:
        """Return all jobs, the latest first."""
        with self._lock:
            return list(self._jobs.values())[::-1]

    def close(self) -> None:
        """End them all: asked at first, then made to."""
        running = [job for job in self.all() if job.running]
        for job in running:
            job.cancel()
        limit = time.monotonic() + PATIENCE_SECONDS
        for job in running:
            job.end(limit)
