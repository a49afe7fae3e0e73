"""Commands that this server has started: child processes that end with it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from phosphene.errors import printable
from phosphene.runs.scans import NAME as SCAN
from phosphene.web.form import Command, FormError

MOST_RUNNING, MOST_LISTED = 4, 100
LAST_LINES, LONGEST_LINE = 40, 2000
PATIENCE_SECONDS = 10.0
INTERRUPTED = 130
VERDICTS = (1, 3)  # exit codes of a scan that has found a backdoor, or could not decide
EVERY_SECONDS = 1  # between two lines of progress


class CommandProcess:
    """A ``phosphene`` command, started as a child process when this is created: its state, last lines on stderr, progress, interruption.

    Args:
        command: What to run.
        run: Its run directory.
    """

    def __init__(self, command: Command, run: Path) -> None:
        self.command, self.name, self.run = command, command.name, run
        # A list of arguments and no shell. -P: a file in the working directory must not pass for a library.
        arguments = [sys.executable, "-P", "-m", "phosphene", *command.words(run)]
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self.stopping = False
        self.process = subprocess.Popen(  # noqa: S603
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PHOSPHENE_PROGRESS_SECONDS": str(EVERY_SECONDS)},
            start_new_session=True,  # Ctrl+C goes to the server, which passes it on
        )
        self.stderr_thread = threading.Thread(target=self._collect_stderr, daemon=True)
        self.stderr_thread.start()

    def _collect_stderr(self) -> None:
        """Keep the last printable lines that the process writes to stderr (body of a thread)."""
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
        """``running``, ``stopping``, ``stopped``, ``failed``, or ``finished`` (exit code 0, or a scan with a verdict)."""
        code = self.process.poll()
        if code is None:
            return "stopping" if self.stopping else "running"
        scanned = self.command.action == "scan" and code in VERDICTS and (self.run / SCAN).exists()
        if code == 0 or scanned:
            return "finished"
        return "stopped" if self.stopping or code == INTERRUPTED else "failed"

    @property
    def percent(self) -> "int | None":
        """Percentage of the work that is finished, from the progress that the process printed last; ``None`` if it printed none."""
        found = re.findall(r"\b([0-9]{1,3}) % done", " ".join(self.lines))
        return min(100, int(found[-1])) if found else None

    @property
    def message(self) -> str:
        """The last line of progress that the process printed; if it failed, its error message."""
        if not self.running:
            self.stderr_thread.join(timeout=1)
        lines = list(self.lines)
        if self.state == "failed":
            errors = [line.removeprefix("phosphene: ") for line in lines if line.startswith("phosphene: ")]
            return (errors or lines or [f"it ended with exit code {self.process.returncode} and no message."])[-1]
        return last_progress(lines)

    def stop(self) -> None:
        """Interrupt the process, as Ctrl+C does; the maps finished so far stay."""
        self.stopping = True
        if self.running:
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait for the process until ``deadline`` (monotonic clock), then kill it and its child processes."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
            self.process.wait()


def last_progress(lines: Sequence[str]) -> str:
    """Return the last of a command's stderr lines that is neither an error nor a summary (``... in all``); empty if none is."""
    for line in reversed(lines):
        error = line.startswith("phosphene: ") and not line.startswith("phosphene: warning: ")
        if not error and not line.endswith(" in all"):
            return line
    return ""


class Processes(dict[str, CommandProcess]):
    """The processes that the gallery has started, by name of the run, the latest last."""

    @property
    def running(self) -> list[str]:
        """Names of the runs on which a process works, in the order of starting."""
        return [name for name, one in self.copy().items() if one.running]  # threads read what the event loop changes

    def start(self, command: Command, run: Path) -> None:
        """Start a command on directory ``run``, and enter it here.

        Raises:
            FormError: a command is at work on this run already, or too many are.
        """
        running = self.running
        if command.name in running:
            raise FormError(f"{command.name} is in progress already: choose another name, or wait.")
        if len(running) >= MOST_RUNNING:
            raise FormError(f"{len(running)} runs are in progress; more would slow all of them down. Wait for one.")
        self.pop(command.name, None)
        self[command.name] = CommandProcess(command, run)
        for name in [name for name, one in self.copy().items() if not one.running][:-MOST_LISTED]:
            del self[name]

    def close(self) -> None:
        """Interrupt all running processes, and kill those that have not ended ten seconds later."""
        running = [one for one in self.copy().values() if one.running]
        for one in running:
            one.stop()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for one in running:
            one.end(deadline)
