"""Which run is meant by a path, an open run, or maps: those of a run stand for it, and a part of them does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phosphene.arguments import as_list
from phosphene.concept_map import ConceptMap
from phosphene.errors import RunError, describe
from phosphene.formats import count
from phosphene.runs.directory import RunDirectory
from phosphene.textfile import exists


def run_with(maps: Sequence[ConceptMap]) -> "tuple[RunDirectory | None, bool]":
    """Return the run that holds all of ``maps`` as they are, ``None`` if there is none, and whether these are all its finished maps.

    Of several runs it is one that has no other maps, and of these the one that was read or written last.
    """
    places = {(one.index, one.seed) for one in maps}
    holder = None
    for path, _ in reversed(maps[0].locations if maps else ()):
        if not exists(path / "run.json"):
            continue
        run = RunDirectory(path)
        hashes = run.map_hashes()
        if all((path, hashes.get((one.index, one.seed))) in one.locations and not one.is_altered for one in maps):
            if hashes.keys() == places:
                return run, True
            holder = holder or run
    return holder, False


def one_or_several(runs: Any) -> list[Any]:
    """Return one run or several, or one map or several, as a list."""
    return [runs] if isinstance(runs, RunDirectory) else as_list(runs)  # a run is no list, though it can be iterated


def to_runs(runs: Any) -> list[RunDirectory]:
    """Return the RunDirectory of each of several runs, or of one; see :func:`to_run`.

    Raises:
        RunError: one is not a run.
    """
    items = one_or_several(runs)
    is_one_run = bool(items) and all(isinstance(one, ConceptMap) for one in items)
    return [to_run(one) for one in ([items] if is_one_run else items)]


def to_run(run: Any) -> RunDirectory:
    """Return the RunDirectory of a path, an open run, or all the finished maps of a run.

    Raises:
        RunError: it is not a run, or maps of several runs, in memory, or a part of a run's.
    """
    if isinstance(run, RunDirectory):
        return run
    if isinstance(run, str | Path):
        opened = RunDirectory(run)
        opened.facts()
        return opened
    maps = as_list(run)
    if not maps or not all(isinstance(one, ConceptMap) for one in maps):
        raise RunError(
            f"a run is the path of a run directory, what phosphene.open_run returns, or its maps, not {describe(run)}."
        )
    holder, is_whole = run_with(maps)
    if holder is not None and is_whole:
        return holder
    in_memory = sum(not one.locations for one in maps)
    if in_memory:
        which = "these maps are" if in_memory == len(maps) else "some of these maps are"
        raise RunError(f"{which} in memory only: maps.save('runs/NAME') makes a run directory of them.")
    if holder is None:
        raise RunError("these maps are of several run directories, or of one that is gone: give the path of one.")
    number, total = len({(one.index, one.seed) for one in maps}), count(len(holder.facts()["jobs"]), "map")
    raise RunError(f"these are {number} of the {total} of {holder.path}: give the whole run, {str(holder.path)!r}.")
