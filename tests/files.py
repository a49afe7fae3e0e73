"""What lies in a folder, for tests that compare it before and after."""

from pathlib import Path

# What Python and a factory leave beside a card does not count.
BESIDE_CARDS = {"it_ran", "__pycache__"}


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file below a folder with its bytes, and every folder with ``None``."""
    paths = [path for path in folder.rglob("*") if not BESIDE_CARDS & set(path.parts)]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def times(folder: Path) -> dict[str, int]:
    """Every path below a folder, relative to it, and when it was written, in nanoseconds."""
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


def map_times(run: Path) -> dict[Path, int]:
    """The ``map.json`` of every finished map of a run, and when it was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in run.glob("maps/*/*/map.json")}
