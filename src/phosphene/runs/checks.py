"""``checks.json``: what the sanity checks of a run's maps found, one entry a check."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from phosphene.errors import RunError
from phosphene.runs.documents import Document
from phosphene.runs.lock import hold

if TYPE_CHECKING:
    from phosphene.runs.directory import RunDirectory

NAME = "checks.json"
SUBJECT = {"concepts": [{"index": int, "label": str}], "samples": {"spec": str}}
ENTRY = {
    "name": str,
    "figures": {"*": int | float},
    "passed": bool | None,
    "reading": str,
    "cost": int,
    "subject": SUBJECT,
}
FIGURES_ONLY = frozenset({"fidelity", "diversity"})  # checks that measure, and have no rule to pass
TOO_FEW = "Too few maps to tell"  # in the explanation of a check that would have needed more
CHECKS = Document(NAME, "checks", {"checks": {"*": ENTRY}}, "Delete it and check again.")


def read_checks(run: "RunDirectory") -> dict[str, dict[str, Any]]:
    """Return the entries of ``checks.json`` by the check's name; empty if there is no file, or the run's maps have changed since.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    data = CHECKS.read(run.path)
    return data["checks"] if data and data.get("maps_sha256") == run.maps_sha256() else {}


def write_check(run: "RunDirectory", entry: dict[str, Any], sha256: str) -> None:
    """Put an entry into ``checks.json`` under its ``name``, drop outdated ones; RunError if the maps' hash is no longer ``sha256``.

    Args:
        run: The run whose maps were checked.
        entry: With what ``ENTRY`` names.
        sha256: Hash over the maps that were checked.

    Raises:
        RunError: the maps have changed since, or the file is damaged or cannot be written.
    """
    with hold(run.path):
        if run.maps_sha256() != sha256:
            raise RunError(f"the maps of {run.path} changed while they were checked: check them again.")
        checks = {**read_checks(run), entry["name"]: entry}
        CHECKS.write(run.path, {"maps_sha256": sha256, "checks": checks})


def checks_line(run: "RunDirectory") -> str:
    """Return how many of a run's checks have which verdict, such as ``4 passed, 2 figures only``, or the error in ``checks.json``."""
    try:
        entries = read_checks(run).values()
    except RunError as error:
        return str(error)
    counted = Counter(verdict(one["name"], one["passed"], one["reading"]).lower() for one in entries)
    return ", ".join(f"{number} {word}" for word, number in counted.items())


def verdict(name: str, passed: "bool | None", explanation: str) -> str:
    """Return ``passed``, ``FAILED``, ``undecided`` if not judged, ``too few to tell`` (too few classes) or ``figures only`` (no rule)."""
    if name in FIGURES_ONLY:
        return "figures only"
    if TOO_FEW in explanation:
        return "too few to tell"
    return {True: "passed", False: "FAILED", None: "undecided"}[passed]
