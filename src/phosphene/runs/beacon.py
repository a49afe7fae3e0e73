"""Whether two machines see one disk: a driver leaves a note in the run directory, a worker elsewhere looks for it."""

import contextlib
from pathlib import Path

from phosphene.runs.atomic import write_bytes
from phosphene.runs.leases import FOLDER, tidy


def leave_beacon(path: Path, driver: str) -> None:
    """Leave a note that only those find who see this very directory.

    Raises:
        RunError: it cannot be written.
    """
    write_bytes(_file(path, driver), driver.encode())


def sees_beacon(path: Path, driver: str) -> bool:
    """Say whether this machine sees the directory in which ``driver`` left its note."""
    try:
        return _file(path, driver).read_text(encoding="utf-8") == driver
    except (OSError, ValueError):
        return False


def take_beacon(path: Path, driver: str) -> None:
    """Take the note away again."""
    with contextlib.suppress(OSError):
        _file(path, driver).unlink()
    tidy(path)


def _file(path: Path, driver: str) -> Path:
    return path / FOLDER / f"driver-{driver}"
