"""Previews of maps that are being made, and signs of life of the processes that make them.

``RUN/live/<host>-<pid>.json`` is the sign of life of a process that makes maps, ``preview.webp`` in a map's folder is
the map as it was a moment ago. Both are removed when the map is finished, nothing is computed from them, and a failure
to write them is ignored.
"""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from PIL import Image

from phosphene.concept_map import Job, render, to_image
from phosphene.errors import RunError
from phosphene.image_files import encode
from phosphene.runs.atomic import read_json, write_bytes
from phosphene.runs.directory import PREVIEW, RunDirectory
from phosphene.runs.documents import missing_entry
from phosphene.runs.paths import directory_name

if TYPE_CHECKING:
    from phosphene.mapper import Step

FOLDER = "live"
FIRST_SECONDS, EVERY_SECONDS, MOST_SECONDS = 0.5, 2.0, 30.0  # from the first step to the first preview; between two
SHARE = 0.006  # share of the time that previews may take
SIDE = 256
# Without a sign of life for this long, or for this many of the longest step so far, a process counts as gone.
PATIENCE_SECONDS, PATIENCE = 60.0, 10.0
MOST_FILES = 64


@dataclass(frozen=True)
class SignOfLife:
    """What a process that makes a group of maps has last written into ``RUN/live``: which maps, which step, and when.

    Attributes:
        pid: Number of the process.
        host: Name of its machine.
        beat: When it wrote this, in seconds since 1970.
        patience: After so many seconds without another one it counts as gone.
        step: Steps taken.
        steps: Steps to take.
        loss: Mean loss of the maps, or ``None``.
        hits: Share of the step's samples that were classified as their map's class, in [0, 1], or ``None``.
        jobs: ``index`` and ``seed`` of the maps that are being made.
    """

    pid: int
    host: str
    beat: float
    patience: float
    step: int
    steps: int
    loss: "float | None"
    hits: "float | None"
    jobs: list[dict[str, int]]

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """The (class index, seed) pairs of the maps that are being made."""
        return tuple((job["index"], job["seed"]) for job in self.jobs)

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to have ended: nothing is known of other machines, nor of systems without ``/proc``."""
        processes = Path("/proc")
        is_known = self.host == socket.gethostname() and (processes / "self").exists()
        return is_known and not (processes / str(self.pid)).exists()


NEEDED = {**get_type_hints(SignOfLife), "jobs": [{"index": int, "seed": int}]}


class LivePreview(contextlib.AbstractContextManager["LivePreview"]):
    """Called with each Step, writes previews into the maps' folders and a sign of life every few seconds; exit deletes them.

    Previews are drawn in turn, one map after the other, in less than 1 % of the time.

    Args:
        run: The run.
        jobs: The maps of the group, each with its label.
        contrast: The recipe's contrast, for the images.
    """

    def __init__(self, run: RunDirectory, jobs: Sequence[tuple[Job, str]], contrast: float) -> None:
        self.run, self.jobs, self.contrast = run, jobs, contrast
        host = directory_name(socket.gethostname()) or "host"
        self.path = run.path / FOLDER / f"{host}-{os.getpid()}.json"
        self.turn = 0
        self.longest_step = 0.0
        self.called = time.monotonic()
        self.due: float | None = None  # when something is written next

    def __exit__(self, *_: object) -> None:
        for job, label in self.jobs:
            folder = self.run.folder(job, label)
            with contextlib.suppress(OSError):
                (folder / PREVIEW).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def __call__(self, step: "Step") -> None:
        """After a step, write sign of life and map previews if due; ``step.nu`` is (m, c, h, w), in the order of the jobs."""
        now = time.monotonic()
        self.longest_step, self.called = max(self.longest_step, now - self.called), now
        if self.due is not None and now < self.due:
            return
        with contextlib.suppress(OSError, RunError, ValueError):  # a full disk is reported when a map is written
            self._write_sign(step)
            if self.due is None:
                self.due = now + FIRST_SECONDS
                return
            began = time.thread_time()
            for _ in self.jobs:
                self._write_preview(step)
                if time.thread_time() - began > SHARE * EVERY_SECONDS:
                    break
            pause = max(EVERY_SECONDS, (time.thread_time() - began) / SHARE)
            self.due = now + min(pause, MOST_SECONDS)

    def _write_sign(self, step: "Step") -> None:
        """Write a SignOfLife of this process to its file in ``RUN/live``."""
        sign = SignOfLife(
            pid=os.getpid(),
            host=socket.gethostname(),
            beat=time.time(),
            patience=max(PATIENCE_SECONDS, PATIENCE * self.longest_step),
            step=step.number,
            steps=step.total,
            loss=_finite(step.loss),
            hits=_finite(step.hits),
            jobs=[{"index": job.index, "seed": job.seed} for job, _ in self.jobs],
        )
        write_bytes(self.path, json.dumps(vars(sign), allow_nan=False).encode(), durable=False)

    def _write_preview(self, step: "Step") -> None:
        """Write ``preview.webp`` of one map of the group, rendered from a Step's ``nu``; each call takes the next map in turn."""
        row = self.turn % len(self.jobs)
        self.turn += 1
        image = to_image(render(step.nu[row].detach().float(), self.contrast))
        if max(image.size) > SIDE:
            image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
        preview = self.run.folder(*self.jobs[row]) / PREVIEW
        write_bytes(preview, encode(image, "WEBP", quality=80, method=1), durable=False)


def read_live(path: Path) -> list[SignOfLife]:
    """Return the signs of life of the processes that are making maps of the run at ``path`` now.

    A process counts until its patience is over (a minute, or ten of its longest steps); one of this machine only while
    it exists. Damaged files are ignored.
    """
    now, signs = time.time(), []
    for file in sorted((path / FOLDER).glob("*.json"))[:MOST_FILES]:
        with contextlib.suppress(RunError):
            note = read_json(file)
            if not missing_entry(note, NEEDED):
                signs.append(SignOfLife(**{key: note[key] for key in NEEDED}))
    return [sign for sign in signs if now - sign.beat <= sign.patience and not sign.has_ended]


def remove_signs(path: Path) -> None:
    """Delete all signs of life in the run at ``path``, which this process has to hold.

    A worker of it that is still alive writes another one at its next step.
    """
    shutil.rmtree(path / FOLDER, ignore_errors=True)


def _finite(value: float) -> "float | None":
    """Return a number rounded to six decimals; ``None`` if it is not finite."""
    return round(float(value), 6) if abs(value) < float("inf") else None
