"""``scores.json``: how target classifiers score a run's maps, one row per target."""

import hashlib
from collections.abc import Sequence
from typing import Any

from phosphene.errors import RunError
from phosphene.runs.atomic import read_json
from phosphene.runs.documents import Document
from phosphene.runs.facts import missing
from phosphene.runs.files import RunFiles
from phosphene.runs.lock import hold

NAME = "scores.json"
ROW = {"target": str, "target_sha256": str, "maps_sha256": str}
SCORES = Document(NAME, "scores", {"rows": [ROW]}, "Delete it and score again.")


def maps_sha256(run: RunFiles) -> str:
    """Hash which finished maps a run holds: another map, or a map made again with another outcome, changes it.

    Raises:
        RunError: this is not a run directory, or a map's note is damaged.
    """
    digest = hashlib.sha256()
    for (index, seed), sha256 in map_hashes(run).items():
        digest.update(f"{index} {seed} {sha256}\n".encode())
    return digest.hexdigest()


def map_hashes(run: RunFiles) -> dict[tuple[int, int], str]:
    """Return the hash of every finished map by its class and seed, in the order of run.json.

    Raises:
        RunError: this is not a run directory, or a map's note is damaged.
    """
    hashes = {}
    for place, folder in run.finished_folders().items():
        facts = read_json(folder / "map.json", fix="Run the map again.")
        if missing(facts, {"map_sha256": str}):
            raise RunError(f"{folder / 'map.json'} is damaged (it lacks map_sha256). Run the map again.")
        hashes[place] = facts["map_sha256"]
    return hashes


def read_scores(run: RunFiles) -> list[dict[str, Any]]:
    """Return the rows for the run's current maps; none if there is no ``scores.json``.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    data = SCORES.read(run.path)
    if data is None:
        return []
    now = maps_sha256(run)
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
        by_target = {(row["target"], row["target_sha256"]): row for row in [*read_scores(run), *rows]}
        SCORES.write(run.path, {"rows": list(by_target.values())})
