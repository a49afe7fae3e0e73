"""Run directories as the pages show them: plain facts, read anew whenever something has changed."""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phosphene.concept_map import Job
from phosphene.errors import PhospheneError
from phosphene.labels import first_synonym
from phosphene.runs import RunDirectory
from phosphene.runs.directory import PREVIEW
from phosphene.runs.live import Beat, read_live
from phosphene.textfile import read_text
from phosphene.web.folder import Folder, NotHereError

MOST_NOTE = 20_000_000
MOST_NOTES = 20_000
THUMBNAILS = 10


@dataclass(frozen=True)
class MapView:
    """A map as the gallery shows it.

    ``state`` is finished, growing or missing; ``version`` changes with the picture and is empty where there is none.
    """

    label: str
    index: int
    seed: int
    state: str
    version: str = ""
    p_class: "float | None" = None
    targeting: "float | None" = None
    seconds: float = 0.0
    step: int = 0
    steps: int = 0

    @property
    def short(self) -> str:
        """The first synonym of the label."""
        return first_synonym(self.label)


@dataclass(frozen=True)
class RunView:
    """A run as the gallery shows it; ``state`` is finished, running, stopped or damaged."""

    name: str
    state: str
    modified: float = 0.0
    error: str = ""
    facts: "dict[str, Any] | None" = None
    maps: tuple[MapView, ...] = ()
    beats: tuple[Beat, ...] = ()
    report: bool = False

    @property
    def done(self) -> int:
        """How many maps are finished."""
        return sum(one.state == "finished" for one in self.maps)

    @property
    def total(self) -> int:
        """How many maps the run has in all."""
        return len(self.maps)

    @property
    def percent(self) -> int:
        """How much of the work is done, in percent; below 100 until all of it is."""
        if not self.maps:
            return 0
        growing = sum(one.step / max(one.steps, 1) for one in self.maps if one.state == "growing")
        return 100 if self.done == self.total else min(99, int(100 * (self.done + growing) / self.total))

    @property
    def seconds_left(self) -> "float | None":
        """Time left as the finished maps took it, or ``None`` where none tells."""
        took = [one.seconds for one in self.maps if one.state == "finished" and one.seconds > 0]
        if self.state != "running" or not took:
            return None
        growing = sum(one.step / max(one.steps, 1) for one in self.maps if one.state == "growing")
        return (self.total - self.done - growing) * sum(took) / len(took) / max(len(self.beats), 1)

    @property
    def several(self) -> bool:
        """Whether a class has several seeds."""
        return len({one.seed for one in self.maps}) > 1

    @property
    def thumbnails(self) -> tuple[MapView, ...]:
        """A few maps for the list: one a class first, what is there before what is not."""
        first: dict[int, MapView] = {}
        for one in sorted(self.maps, key=lambda one: one.state == "missing"):
            first.setdefault(one.index, one)
        chosen = list(first.values())[:THUMBNAILS]
        rest = [one for one in self.maps if one not in chosen and one.state != "missing"]
        return tuple([*chosen, *rest][:THUMBNAILS])


class Viewer:
    """Reads runs; notes that have not changed are read once."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._notes: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._lock = threading.Lock()

    def runs(self) -> list[RunView]:
        """Return all runs, those that run first, then the latest first."""
        views = [self.look(name) for name in self.folder.names()]
        return sorted(views, key=lambda view: (view.state != "running", -view.modified, view.name))

    def look(self, name: str) -> RunView:
        """Return a run as it is now; a damaged one says so.

        Raises:
            NotHereError: there is no such run here.
        """
        run = self.folder.run(name)
        try:
            modified = (run.path / "run.json").stat().st_mtime
            facts = self._read(run.path / "run.json", lambda _: self.folder.facts(run))
        except NotHereError:
            raise
        except (PhospheneError, OSError) as error:
            return RunView(name, "damaged", error=str(error))
        beats = tuple(read_live(run.path))
        growing = {job: beat for beat in beats for job in beat.jobs}
        maps = tuple(self._map(run, row, growing) for row in facts["jobs"])
        done = bool(maps) and all(one.state == "finished" for one in maps)
        state = "running" if beats else "finished" if done else "stopped"
        report = (run.path / "report.html").is_file()
        return RunView(name, state, modified, facts=facts, maps=maps, beats=beats, report=report)

    def _map(self, run: RunDirectory, row: dict[str, Any], growing: dict[tuple[int, int], Beat]) -> MapView:
        index, seed, label = row["index"], row["seed"], row["label"]
        folder = run.folder(Job(index, seed), label)
        note = self._read(folder / "map.json", _note)
        if isinstance(note, dict):
            figures = {key: _number(note.get(key)) for key in ("p_class", "targeting_rate", "seconds")}
            return MapView(
                *(label, index, seed, "finished", str(note.get("map_sha256"))[:12]),
                p_class=figures["p_class"],
                targeting=figures["targeting_rate"],
                seconds=figures["seconds"] or 0.0,
            )
        beat = growing.get((index, seed))
        version = _changed(folder / PREVIEW)
        if beat is None:
            return MapView(label, index, seed, "missing", version)
        return MapView(label, index, seed, "growing", version, step=beat.step, steps=beat.steps)

    def _read(self, path: Path, read: Any) -> Any:
        """Read a file unless it is the one that was read before; ``None`` where there is none."""
        try:
            facts = os.stat(path)  # noqa: PTH116
        except OSError:
            return None if read is _note else read(path)
        mark = (facts.st_mtime_ns, facts.st_size)
        with self._lock:
            known = self._notes.get(path)
        if known is None or known[0] != mark:
            known = (mark, read(path))
            with self._lock:
                if len(self._notes) > MOST_NOTES:
                    self._notes.clear()
                self._notes[path] = known
        return known[1]


def _note(path: Path) -> Any:
    """Read a map's note but for its curves; what cannot be read counts as unfinished."""
    try:
        note = json.loads(read_text(path, MOST_NOTE))
    except (OSError, ValueError, RecursionError):
        return None
    keys = ("map_sha256", "p_class", "targeting_rate", "seconds")
    return {key: note.get(key) for key in keys} if isinstance(note, dict) else None


def _number(value: Any) -> "float | None":
    return float(value) if isinstance(value, int | float) and -1e12 < value < 1e12 else None


def _changed(path: Path) -> str:
    try:
        return f"{path.stat().st_mtime_ns:x}"
    except OSError:
        return ""
