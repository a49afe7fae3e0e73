"""Names of runs, maps and files as paths, and which paths belong to a run."""

import re
import unicodedata
from pathlib import Path

from phosphene.errors import RunError
from phosphene.labels import first_synonym
from phosphene.runs.atomic import writing
from phosphene.textfile import nearby

MOST_BYTES = 100  # of each part of a name; file systems take 255 in all
# What commands on a run write into its directory, and what is in its folders: other output goes elsewhere
OWN_NAMES = {
    *("run.json", "scores.json", "readings.json", "checks.json", "scan.json", "scan.sarif", "failures.json"),
    *("report.html", "sheet.png", "maps", "scan", "scans", "live", ".checkpoints", ".lock", ".lock.json"),
}


def slug(label: str) -> str:
    """Return a label as a safe file name: its first synonym in lower-case ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", first_synonym(label)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "class"


def directory_name(*names: str) -> str:
    """Return names, which a card may choose at will, joined by dashes as a valid name of a file or directory."""
    short = (re.sub(r"[^\w.-]+", "-", name).encode()[:MOST_BYTES] for name in names)
    return "-".join(name.decode(errors="ignore") for name in short).lstrip(".-")


def refuse_own_file(path: Path) -> None:
    """Raise RunError if ``path`` is that of a file or folder that belongs to a run directory, written already or not.

    Raises:
        RunError: it is, or it is no path.
    """
    with writing(path):
        place = path.resolve()
        run = next((one for one in place.parents if (one / "run.json").is_file()), None)
        if run is not None and place.relative_to(run).parts[0] in OWN_NAMES:
            raise RunError(f"{path} is among the files of the run {run} itself: choose another path.")


def runs_nearby(path: Path) -> str:
    """Return the end of an error message: which runs lie in or beside ``path``, or, if there are none, how a run is made."""
    for where, place in (("in it", path / "run"), ("beside it", path)):
        names = nearby(place, lambda one: (one / "run.json").is_file())
        if names:
            return f"The runs {where}: {names}."
    return "`phosphene map` makes one."
