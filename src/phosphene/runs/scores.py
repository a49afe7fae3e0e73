"""``scores.json``: what targets make of a run's maps, one row a target."""

import hashlib
from collections.abc import Sequence
from typing import Any

from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.facts import versions
from phosphene.runs.files import RunFiles
from phosphene.runs.lock import hold

SCHEMA = 1
NAME = "scores.json"


def maps_sha256(run: RunFiles) -> str:
    """Hash which finished maps a run holds: another map, or a map made again with another outcome, changes it.

    Raises:
        RunError: this is no run directory, or a map's note is damaged.
    """
    digest = hashlib.sha256()
    for (index, seed), sha256 in map_hashes(run).items():
        digest.update(f"{index} {seed} {sha256}\n".encode())
    return digest.hexdigest()


def map_hashes(run: RunFiles) -> dict[tuple[int, int], str]:
    """Return the hash of every finished map by its class and seed, in the order of run.json.

    Raises:
        RunError: this is no run directory, or a map's note is damaged.
    """
    hashes = {}
    for row in run.facts()["jobs"]:
        note = run.folder(Job(row["index"], row["seed"]), row["label"]) / "map.json"
        if note.exists():
            facts = read_json(note, fix="Run the map again.")
            if not isinstance(facts, dict) or not isinstance(facts.get("map_sha256"), str):
                raise RunError(f"{note} is damaged (it lacks map_sha256). Run the map again.")
            hashes[row["index"], row["seed"]] = facts["map_sha256"]
    return hashes


def read_scores(run: RunFiles) -> list[dict[str, Any]]:
    """Return the rows that speak of the run's maps as they are now; none where there is no ``scores.json``.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    path = run.path / NAME
    if not path.exists():
        return []
    fix = "Delete it and score again."
    data = read_json(path, fix=fix)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("rows"), list):
        raise RunError(f"{path} holds no scores of this version (schema {SCHEMA}). {fix}")
    now = maps_sha256(run)
    for row in data["rows"]:
        keys = ("maps_sha256", "target_sha256", "target")
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
            raise RunError(f"{path} is damaged (a row lacks one of {', '.join(keys)}). {fix}")
    return [row for row in data["rows"] if row["maps_sha256"] == now]


def write_scores(run: RunFiles, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows into ``scores.json``.

    A row replaces the one of the same target; rows of other targets stay; rows of maps that have changed go.

    Args:
        run: The run whose maps were scored.
        rows: With ``target``, ``target_sha256`` and ``maps_sha256``.

    Raises:
        RunError: the maps have changed since they were scored, or the file is damaged or cannot be written.
    """
    with hold(run.path):
        now = maps_sha256(run)
        if any(row["maps_sha256"] != now for row in rows):
            raise RunError(f"the maps of {run.path} changed while they were scored: score them again.")
        new = {_target(row) for row in rows}
        kept = [row for row in read_scores(run) if _target(row) not in new]
        write_json(run.path / NAME, {"schema": SCHEMA, "versions": versions(), "rows": [*kept, *rows]})


def _target(row: dict[str, Any]) -> tuple[str, str]:
    return row["target"], row["target_sha256"]
