"""What a run that is being made shows of itself: previews of unfinished maps, and a sign of life.

``RUN/live/<host>-<pid>.json`` is the sign of life of a process that makes maps, ``preview.webp`` in a map's folder is
the map as it was a moment ago. Both are courtesies: they go when the map is finished, nothing is computed from them,
and a failure to write them is passed over.
"""

import contextlib
import io
import json
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from PIL import Image
from torch import Tensor

from phosphene.concept_map import Job, render, to_image
from phosphene.errors import RunError
from phosphene.runs.atomic import write_bytes
from phosphene.runs.directory import PREVIEW, RunDirectory
from phosphene.textfile import read_text

FOLDER = "live"
EVERY_SECONDS = 2.0
SHARE = 0.006  # of the time may go into previews, in seconds of the processor: waiting for others costs nothing
FIRST_SECONDS = 0.05  # spent at once, so that something is seen early
MOST_SECONDS = 0.4  # saved up, or owed
SIDE = 256
# Without a beat for this long, or for this many of the longest pause so far, a process is given up.
PATIENCE_SECONDS, PATIENCE = 60.0, 10.0
MOST_BYTES, MOST_FILES = 1_000_000, 64


class Standing(Protocol):
    """What is asked of a step: see :class:`phosphene.mapper.Step`."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def total(self) -> int: ...  # noqa: D102
    @property
    def loss(self) -> float: ...  # noqa: D102
    @property
    def hits(self) -> float: ...  # noqa: D102
    @property
    def nu(self) -> Tensor: ...  # noqa: D102


class Live:
    """Writes previews and signs of life while maps are made; a context manager.

    Previews are made in turn, one map after the other, as long as they cost less than 1 % of the time.

    Args:
        run: The run.
        contrast: The recipe's contrast, for the pictures.

    Example:
        >>> from pathlib import Path
        >>> with Live(RunDirectory(Path("runs/none")), 0.2) as live:
        ...     pass  # live.preview([(job, label), ...], step) after every step
    """

    def __init__(self, run: RunDirectory, contrast: float) -> None:
        self.run, self.contrast = run, contrast
        host = re.sub(r"[^\w.-]+", "-", socket.gethostname())[:60] or "host"
        self.path = run.path / FOLDER / f"{host}-{os.getpid()}.json"
        self.jobs: list[tuple[Job, str]] = []
        self.turn = 0
        self.allowance = FIRST_SECONDS
        self.longest = 0.0
        self.filled = self.called = time.monotonic()
        self.beaten: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self._forget(self.jobs, folders=kind is not None)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()  # where it is empty

    def preview(self, jobs: Sequence[tuple[Job, str]], step: Standing) -> None:
        """Note where maps stand; write what is due. Cheap enough to be called after every step.

        Args:
            jobs: The maps that are being made, each with its label, in the order of ``step.nu``.
            step: Where they stand; ``step.nu`` is (m, c, h, w).
        """
        now = time.monotonic()
        self.longest, self.called = max(self.longest, now - self.called), now
        if list(jobs) != self.jobs:
            self._forget(self.jobs)  # they are finished
            self.jobs, self.turn = list(jobs), 0
        elif self.beaten is not None and now - self.beaten < EVERY_SECONDS:
            return
        self.allowance = min(self.allowance + SHARE * (now - self.filled), MOST_SECONDS)
        self.filled = self.beaten = now
        with contextlib.suppress(OSError, RunError, ValueError):  # a full disk is noticed where results are written
            self._beat(step)
            for _ in self.jobs:
                if self.allowance <= 0:
                    break
                began = time.thread_time()
                self._draw(step)
                self.allowance = max(self.allowance - (time.thread_time() - began), -MOST_SECONDS)

    def _beat(self, step: Standing) -> None:
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "began": _began(os.getpid()),
            "beat": time.time(),
            "patience": max(PATIENCE_SECONDS, PATIENCE * self.longest),
            "step": step.number,
            "steps": step.total,
            "loss": _finite(step.loss),
            "hits": _finite(step.hits),
            "jobs": [{"index": job.index, "seed": job.seed} for job, _ in self.jobs],
        }
        write_bytes(self.path, json.dumps(note, allow_nan=False).encode(), durable=False)

    def _draw(self, step: Standing) -> None:
        row = self.turn % len(self.jobs)
        self.turn += 1
        picture = to_image(render(step.nu[row].detach().float(), self.contrast))
        if max(picture.size) > SIDE:
            picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
        data = io.BytesIO()
        picture.save(data, "WEBP", quality=80, method=1)
        write_bytes(self.run.folder(*self.jobs[row]) / PREVIEW, data.getvalue(), durable=False)

    def _forget(self, jobs: Sequence[tuple[Job, str]], *, folders: bool = False) -> None:
        """Remove previews; of maps that were given up, the folders as well, if nothing else is in them."""
        for job, label in jobs:
            folder = self.run.folder(job, label)
            with contextlib.suppress(OSError):
                (folder / PREVIEW).unlink(missing_ok=True)
                if folders:
                    folder.rmdir()
                    folder.parent.rmdir()


@dataclass(frozen=True)
class Beat:
    """A sign of life.

    Attributes:
        jobs: Index and seed of the maps that are being made.
        step: Steps taken.
        steps: Steps to take.
        loss: Mean loss of the maps, or ``None``.
        hits: Share of the step's samples that were read as their class, in [0, 1], or ``None``.
        age: Seconds since the sign was given.
    """

    jobs: tuple[tuple[int, int], ...]
    step: int
    steps: int
    loss: "float | None"
    hits: "float | None"
    age: float


def read_live(path: Path) -> list[Beat]:
    """Return the signs of life of the processes that are at work on the run at ``path``.

    A process counts until its patience is over (a minute, or ten of its longest steps); one of this machine only while
    it exists. Damaged notes are passed over: they say nothing.
    """
    beats = []
    with contextlib.suppress(OSError):
        for file in sorted((path / FOLDER).glob("*.json"))[:MOST_FILES]:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
                beat = _read(json.loads(read_text(file, MOST_BYTES)))
                if beat is not None:
                    beats.append(beat)
    return beats


def sweep_live(path: Path) -> None:
    """Remove the signs of life of this machine's processes that are no more: one that was killed leaves its own."""
    for file in [*(path / FOLDER).glob("*.json"), *(path / FOLDER).glob(".*.part")]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            note = {} if file.suffix == ".part" else json.loads(read_text(file, MOST_BYTES))
            pid = int(note.get("pid") or file.name.partition(".json")[0].rpartition("-")[2])
            if note.get("host", socket.gethostname()) == socket.gethostname() and _began(pid) != note.get("began", 0):
                file.unlink()
    with contextlib.suppress(OSError):
        (path / FOLDER).rmdir()


def _read(note: dict[str, Any]) -> "Beat | None":
    age = max(0.0, time.time() - float(note["beat"]))
    if not age <= float(note["patience"]):
        return None
    if note["host"] == socket.gethostname() and _began(int(note["pid"])) != note["began"]:
        return None
    figures = {key: None if note[key] is None else float(note[key]) for key in ("loss", "hits")}
    jobs = tuple((int(job["index"]), int(job["seed"])) for job in note["jobs"])
    return Beat(jobs=jobs, step=int(note["step"]), steps=max(1, int(note["steps"])), age=age, **figures)


def _began(pid: int) -> "int | None":
    """Return when a process of this machine began, in ticks: a number that is given again has another one.

    ``None`` where there is no such process; 0 where the system does not say.
    """
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else 0
    except (OSError, ValueError, IndexError):
        return 0


def _finite(value: float) -> "float | None":
    return round(float(value), 6) if abs(value) < float("inf") else None
