"""Run directories as the pages show them."""

import contextlib
import functools
import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.concept_map import Job
from phosphene.errors import PhospheneError, RunError, one_line
from phosphene.labels import first_synonym
from phosphene.reports.checks import check_section
from phosphene.reports.scan_words import all_to_all, glance, headline, named
from phosphene.runs import RunDirectory
from phosphene.runs.checks import NAME as CHECKS
from phosphene.runs.directory import PREVIEW
from phosphene.runs.failures import failure_lines
from phosphene.runs.live import SignOfLife, read_live
from phosphene.runs.map_json import read_map_json
from phosphene.runs.scans import NAME as SCAN
from phosphene.runs.scans import SCAN as SCAN_DOCUMENT
from phosphene.runs.scans import scan_folders
from phosphene.web.folder import Folder, NotHereError, cached_facts, read_cached

THUMBNAILS, MOST_RUNS = 10, 2000
VERDICTS = {BACKDOORED: "backdoor suspected", CLEAN: "no backdoor found", INCONCLUSIVE: "inconclusive"}


@dataclass(frozen=True)
class MapView:
    """A map as pages show it.

    ``state`` is ``finished``, ``growing`` or ``missing``; ``version`` changes with the image, and is empty if there is none.
    """

    label: str
    index: int
    seed: int
    state: str
    version: str = ""
    p_class: "float | None" = None
    targeting_rate: "float | None" = None
    seconds: float = 0.0
    step: int = 0
    steps: int = 0

    @property
    def short(self) -> str:
        """The first synonym of the map's label."""
        return first_synonym(self.label)

    @property
    def share(self) -> float:
        """The share of the map's steps that are taken, in [0, 1]; 1 if it is finished."""
        return 1.0 if self.state == "finished" else self.step / max(self.steps, 1)


@dataclass(frozen=True)
class ScanView:
    """A scan in words for the pages: the model's name, the verdict, the suspected classes in one text, and the reasons.

    Attributes:
        name: Name of the run that holds it, for the address of its report.
        model: Name of the network.
        mark: ``good``, ``bad`` or ``unsure``.
        verdict: The verdict in a few words.
        classes: The classes that are suspected, in words; empty if there are none.
        text: The verdict in a sentence.
        reasons: The reasons for it.
    """

    name: str
    model: str
    mark: str
    verdict: str
    classes: str = ""
    text: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunView:
    """A run as the pages show it.

    ``state`` is ``finished``, ``running``, ``stopped`` or ``damaged``; ``scan`` is the scan of the run itself, and
    ``other_scans`` are those of the runs below it; ``checks`` sums up its sanity checks (``mark`` and ``text``);
    ``failures`` are the reasons why it stopped, as far as ``failures.json`` has them.
    """

    name: str
    state: str
    modified: float = 0.0
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # empty if it is damaged
    maps: tuple[MapView, ...] = ()
    beats: tuple[SignOfLife, ...] = ()
    report: bool = False
    scan: "ScanView | None" = None
    other_scans: tuple[ScanView, ...] = ()
    checks: "dict[str, str] | None" = None
    failures: tuple[str, ...] = ()

    @property
    def is_scan(self) -> bool:
        """Whether the run has a ``scan.json`` or no maps at all, so that a scan made it, and its maps, if any, are of the suspects."""
        return self.scan is not None or not self.maps

    @property
    def finished_maps(self) -> int:
        """How many maps of the run are finished."""
        return sum(one.state == "finished" for one in self.maps)

    @property
    def percent(self) -> int:
        """Finished share of the maps by steps taken, in percent, rounded down; 100 only if all are finished, 0 if there are no maps."""
        share = sum(one.share for one in self.maps) / max(len(self.maps), 1)
        return 100 if self.maps and self.finished_maps == len(self.maps) else min(99, int(100 * share))

    @property
    def seconds_left(self) -> "float | None":
        """Estimated seconds until a running run is finished, from its finished maps; ``None`` without these, or if it is not running."""
        seconds = [one.seconds for one in self.maps if one.state == "finished" and one.seconds > 0]
        if not self.beats or not seconds:
            return None
        left = sum(1 - one.share for one in self.maps)
        return left * sum(seconds) / len(seconds) / len(self.beats)

    @property
    def has_several_seeds(self) -> bool:
        """Whether the run has maps of several seeds."""
        return len({one.seed for one in self.maps}) > 1

    @property
    def thumbnails(self) -> tuple[MapView, ...]:
        """Up to 10 MapViews for the list of runs: one of each class, finished or growing ones first; then more finished or growing ones."""
        first: dict[int, MapView] = {}
        for one in sorted(self.maps, key=lambda one: one.state == "missing"):
            first.setdefault(one.index, one)
        chosen = list(first.values())[:THUMBNAILS]
        rest = [one for one in self.maps if one not in chosen and one.state != "missing"]
        return tuple([*chosen, *rest][:THUMBNAILS])


def run_views(folder: Folder, running: Collection[str] = ()) -> list[RunView]:
    """Return a RunView of each run in a :class:`Folder`: those in progress (or named in ``running``) first, then the latest first."""
    views = []
    for name in itertools.islice(folder.names(), MOST_RUNS):
        with contextlib.suppress(NotHereError):  # deleted since it was listed
            views.append(run_view(folder, name, running))
    return sorted(views, key=lambda view: (view.state != "running", -view.modified, view.name))


def run_view(folder: Folder, name: str, running: Collection[str] = ()) -> RunView:
    """Return a RunView of run ``name``: running if in ``running`` or being written, damaged if ``run.json`` is; NotHereError if no run.

    Args:
        folder: The folder of the run.
        name: Name of the run.
        running: Names of the runs on which a process of this server works.

    Raises:
        NotHereError: there is no such run here.
    """
    run = folder.run(name)
    try:
        modified, facts = (run.path / "run.json").stat().st_mtime, cached_facts(run)
    except (PhospheneError, OSError) as error:
        return RunView(name, "damaged", error=str(error))
    beats = tuple(read_live(run.path))
    growing = {job: beat for beat in beats for job in beat.maps}
    maps = tuple(_map_view(run, row, growing.get((row["index"], row["seed"]))) for row in facts["jobs"])
    scans = [_scan_view(folder, one) for one in scan_folders(run)]
    finished = all(one.state == "finished" for one in maps) and (maps or scans[0])
    state = "running" if beats or name in running else "finished" if finished else "stopped"
    return RunView(
        name,
        state,
        modified,
        facts=facts,
        maps=maps,
        beats=beats,
        report=(run.path / "report.html").is_file(),
        scan=scans[0],
        other_scans=tuple(one for one in scans[1:] if one is not None),
        checks=_checks(folder, run, maps),
        failures=tuple(failure_lines(run)) if state == "stopped" else (),
    )


def _scan_view(folder: Folder, run: RunDirectory) -> "ScanView | None":
    """Return what the gallery shows of a run's scan, an error if it cannot be read; ``None`` if the run has no scan."""
    name = folder.name(run.path)
    try:
        found = read_cached(_scan_facts, folder.file(run.path / SCAN))
    except NotHereError:
        return None
    except (PhospheneError, OSError) as error:
        return ScanView(name, "", "bad", "cannot be read", text=str(error))
    return ScanView(name, **found)


def _scan_facts(scan_json: Path) -> dict[str, Any]:
    """Read the ``scan.json`` at a path; return what the pages show of it, by field of ``ScanView``; RunError if damaged."""
    found = SCAN_DOCUMENT.read(scan_json.parent)
    if found is None:
        raise NotHereError("there is no such file here.")
    with one_line(RunError, f"{scan_json} cannot be shown", SCAN_DOCUMENT.fix):
        classes = ", ".join(f"class {named(one)}" for one in found["suspects"])
        return {
            "model": found["model"]["name"],
            "mark": headline(found)[1],
            "verdict": VERDICTS[found["verdict"]],
            "classes": "every class is taken for another one" if all_to_all(found) else classes,
            "text": glance(found),
            "reasons": tuple(map(str, found["reasons"])),
        }


def _checks(folder: Folder, run: RunDirectory, maps: tuple[MapView, ...]) -> "dict[str, str] | None":
    """Return a dictionary, ``mark`` and ``text``, that sums up a run's checks or names the error in them; ``None`` if there are none."""
    try:
        checked = folder.file(run.path / CHECKS).stat().st_mtime_ns
        return _checks_line(run.path, checked, tuple(one.version for one in maps))
    except (NotHereError, OSError):
        return None
    except PhospheneError as error:
        return {"mark": "bad", "text": str(error)}


@functools.lru_cache(maxsize=500)
def _checks_line(run: Path, *versions: object) -> "dict[str, str] | None":
    """Return ``mark`` and ``text``, as a dictionary, that sum up a run's checks; cached until ``versions`` change; or ``None``."""
    section = check_section(RunDirectory(run), RunDirectory(run).facts())
    return next(iter(section["glance"]), None) if section else None


def _map_view(run: RunDirectory, row: dict[str, Any], beat: "SignOfLife | None") -> MapView:
    """Return a MapView of a row of ``run.json``: finished if its file can be read; else growing if a SignOfLife is given; else missing."""
    index, seed, label = row["index"], row["seed"], row["label"]
    folder = run.folder(Job(index, seed), label)
    with contextlib.suppress(OSError, PhospheneError):  # what is missing or cannot be read counts as unfinished
        return MapView(label, index, seed, "finished", **read_cached(_map_facts, folder / "map.json"))
    version = ""
    with contextlib.suppress(OSError):
        version = f"{(folder / PREVIEW).stat().st_mtime_ns:x}"
    if beat is None:
        return MapView(label, index, seed, "missing", version)
    return MapView(label, index, seed, "growing", version, step=beat.step, steps=beat.steps)


def _map_facts(map_json: Path) -> dict[str, Any]:
    """Read the ``map.json`` at a path; return its figures that the pages show, by field of ``MapView``; RunError if damaged."""
    facts = read_map_json(map_json.parent)
    figures = {key: facts[key] for key in ("p_class", "targeting_rate", "seconds")}
    return {**figures, "version": facts["map_sha256"][:12]}
