"""``checks.json``: what the sanity checks of a run's maps found, one entry a check."""

from typing import Any

from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.facts import versions
from phosphene.runs.files import RunFiles
from phosphene.runs.lock import hold
from phosphene.runs.scores import maps_sha256

SCHEMA = 1
NAME = "checks.json"
FIX = "Delete it and check again."
# what an entry holds
NEEDED: dict[str, Any] = {
    "name": str,
    "figures": dict,
    "passed": bool | None,
    "reading": str,
    "cost": int,
    "subject": dict,
}


def read_checks(run: RunFiles) -> dict[str, dict[str, Any]]:
    """Return the entries that speak of the run's maps as they are now, by check; none where there is no file.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    path = run.path / NAME
    if not path.exists():
        return {}
    data = read_json(path, fix=FIX)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("checks"), dict):
        raise RunError(f"{path} holds no checks of this version (schema {SCHEMA}). {FIX}")
    for name, entry in data["checks"].items():
        for key, kind in NEEDED.items():
            if not isinstance(entry, dict) or key not in entry or not isinstance(entry[key], kind):
                raise RunError(f"{path} is damaged ({name} lacks {key}). {FIX}")
        if not all(isinstance(value, int | float) for value in entry["figures"].values()):
            raise RunError(f"{path} is damaged (a figure of {name} is no number). {FIX}")
    return data["checks"] if data.get("maps_sha256") == maps_sha256(run) else {}


def write_check(run: RunFiles, entry: dict[str, Any], sha256: str) -> None:
    """Put an entry into ``checks.json`` in place of the one of the same name; entries of maps that have changed go.

    Args:
        run: The run whose maps were checked.
        entry: With what ``NEEDED`` names.
        sha256: Hash over the maps that were checked.

    Raises:
        RunError: the maps have changed since, or the file is damaged or cannot be written.
    """
    with hold(run.path):
        if maps_sha256(run) != sha256:
            raise RunError(f"the maps of {run.path} changed while they were checked: check them again.")
        checks = {**read_checks(run), entry["name"]: entry}
        facts = {"schema": SCHEMA, "maps_sha256": sha256, "versions": versions(), "checks": checks}
        write_json(run.path / NAME, facts)
