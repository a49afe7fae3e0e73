"""Leases: who is making which map, so that several processes on one run do not make it twice.

``RUN/.fleet/leases/<index>-<seed>`` names the process that makes a map; it is put in place by a hard link, which one of
several processes wins, on network file systems too. A lease ends with its process. On the same machine that is asked
of the system; elsewhere the holder gives a sign of life, a number that changes in ``RUN/.fleet/beats/``, and it is
given up when an observer has seen no change for a minute of the observer's own monotonic clock: no wall clock is asked.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.runs.atomic import locked, remove_parts, write_bytes, writing
from phosphene.runs.machine import began, machine

FOLDER = ".fleet"
BEAT_SECONDS, STALE_SECONDS = 5.0, 60.0


class Leases:
    """The leases of this process on one run.

    Args:
        path: The run directory.
        driver: What this process works for. One driver gives a job to one process at a time, so a lease that another
            process holds for the same driver is what a dead worker left.
        stale: Seconds without a sign of life after which a holder on another machine is given up.
    """

    def __init__(self, path: Path, driver: str = "", stale: float = STALE_SECONDS) -> None:
        self.path, self.stale = path, stale
        self.driver, self.owner = driver or uuid.uuid4().hex, uuid.uuid4().hex
        self.held: set[Job] = set()
        self._seen: dict[str, tuple[str, float]] = {}  # holder -> its last sign of life, and when it was new to us
        self._stop = threading.Event()
        self._beating: threading.Thread | None = None

    def claim(self, job: Job) -> bool:
        """Take the lease on a job; say whether this process has it now.

        Raises:
            RunError: the run directory cannot be written.
        """
        if job in self.held:
            return True
        self._begin_to_beat()
        taken = self._create(job) or (self._is_dead(job, self._holder(job)) and self._take_over(job))
        if taken:
            self.held.add(job)
        return taken

    def release(self, job: Job) -> None:
        """Give a lease back; one that was taken over meanwhile is left alone."""
        self.held.discard(job)
        if self._holder(job).get("owner") == self.owner:
            with contextlib.suppress(OSError):
                self._file(job).unlink()

    def close(self) -> None:
        """Give everything back, and leave no empty folders."""
        self._stop.set()
        if self._beating is not None:
            self._beating.join()
        for job in list(self.held):
            self.release(job)
        with contextlib.suppress(OSError):
            self._beat_file(self.owner).unlink(missing_ok=True)
        tidy(self.path)

    def _file(self, job: Job) -> Path:
        return self.path / FOLDER / "leases" / f"{job.index}-{job.seed}"

    def _beat_file(self, owner: str) -> Path:
        return self.path / FOLDER / "beats" / owner

    def _create(self, job: Job) -> bool:
        """Put a lease in place, whole, where there is none."""
        place = self._file(job)
        note = {
            "owner": self.owner,
            "driver": self.driver,
            "machine": machine(),
            "pid": os.getpid(),
            "began": began(os.getpid()),
        }
        beside = place.with_name(f".{self.owner}-{job.index}-{job.seed}.part")
        with writing(place):
            for _ in range(100):  # others tidy up empty folders
                try:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    beside.write_text(json.dumps(note), encoding="utf-8")
                    os.link(beside, place)
                except FileExistsError:
                    return False
                except FileNotFoundError:
                    continue
                else:
                    return True
                finally:
                    beside.unlink(missing_ok=True)
        return False

    def _take_over(self, job: Job) -> bool:
        """Replace a dead holder's lease. Of several who try, the lock lets one after the other look again."""
        with locked(self.path):
            if not self._is_dead(job, self._holder(job)):
                return False
            with contextlib.suppress(OSError):
                self._file(job).unlink(missing_ok=True)
            return self._create(job)

    def _holder(self, job: Job) -> dict[str, Any]:
        """Read a lease; nothing where there is none, or where it is damaged."""
        try:
            note = json.loads(self._file(job).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _is_dead(self, job: Job, holder: dict[str, Any]) -> bool:
        if holder.get("driver") == self.driver:
            return True
        if holder.get("machine") == machine() and isinstance(holder.get("pid"), int):
            return began(holder["pid"]) != holder.get("began")
        # Of another machine, or damaged: it is dead when nothing changes for long enough by our own clock.
        name = str(holder.get("owner", f"damaged {job.index}-{job.seed}"))
        try:
            beat = self._beat_file(name).read_text(encoding="utf-8")
        except (OSError, ValueError):
            beat = ""
        now = time.monotonic()
        before, since = self._seen.get(name, (None, now))
        if before != beat:
            self._seen[name] = (beat, now)
            return False
        return now - since >= self.stale

    def _begin_to_beat(self) -> None:
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="leases", daemon=True)
            self._beating.start()

    def _beat(self) -> None:
        count = 0
        while True:
            count += 1
            with contextlib.suppress(RunError, OSError):  # a full disk is noticed where results are written
                write_bytes(self._beat_file(self.owner), str(count).encode(), durable=False)
            if self._stop.wait(BEAT_SECONDS):
                return


def tidy(path: Path) -> None:
    """Remove the fleet's folders where nothing is left in them."""
    for name in ("leases", "beats", "checkpoints", ""):
        with contextlib.suppress(OSError):
            (path / FOLDER / name).rmdir()


def sweep(path: Path) -> None:
    """Remove what dead processes of this machine have left: leases, and signs of life that belong to no lease."""
    owners = set()
    for file in (path / FOLDER / "leases").glob("*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = json.loads(file.read_text(encoding="utf-8"))
            if holder["machine"] == machine() and began(int(holder["pid"])) != holder["began"]:
                file.unlink()
            else:
                owners.add(holder["owner"])
    for file in (path / FOLDER / "beats").glob("*"):
        if file.name.removeprefix(".").partition(".")[0] not in owners:
            with contextlib.suppress(OSError):
                file.unlink()
    if not owners:  # nobody is at work, so nobody is writing these
        remove_parts(path / FOLDER / "checkpoints")
        remove_parts(path / FOLDER / "leases")
    tidy(path)
