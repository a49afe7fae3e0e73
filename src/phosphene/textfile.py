"""Reads text and TOML files from anywhere, after checking that they are regular files of limited size."""

import tomllib
from pathlib import Path
from typing import Any

from phosphene.errors import PhospheneError, one_line

MAX_TOML_BYTES = 1_000_000


def read_text(path: Path, max_bytes: int, encoding: str = "utf-8") -> str:
    """Return the content of a regular text file of at most ``max_bytes`` bytes; ValueError if it is larger or not a regular file.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
        ValueError: it is a pipe or a device, is larger, or is not text.
    """
    size = path.stat().st_size
    if not path.is_dir():  # for a folder, read_text has the message
        if not path.is_file():  # reading a pipe would never end
            raise ValueError("it is not a regular file")
        if size > max_bytes:
            raise ValueError(f"it has {size:,} bytes; the limit is {max_bytes:,}")
    return path.read_text(encoding=encoding)


def read_toml(path: Path, what: str, kind: type[PhospheneError]) -> dict[str, Any]:
    """Read a TOML file and return its content as a dictionary; on failure raise the PhospheneError type ``kind`` in one line.

    Args:
        path: The file.
        what: Name of this kind of file, for messages.
        kind: Type of the error.

    Raises:
        PhospheneError: of type ``kind``: the file does not exist, cannot be read as :func:`read_text` says, or is not
            TOML.
    """
    with one_line(kind, f"{what} {path} cannot be read"):
        if not path.exists():
            raise kind(f"{what} {path} does not exist.")
        return tomllib.loads(read_text(path, MAX_TOML_BYTES))
