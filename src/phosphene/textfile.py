"""Reads text and TOML files from anywhere, after checking that they are regular files of limited size."""

import tomllib
from pathlib import Path
from typing import Any

MAX_TOML_BYTES = 1_000_000


def read_text(path: Path, max_bytes: int, encoding: str = "utf-8") -> str:
    """Read a text file of at most ``max_bytes`` bytes.

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


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
        ValueError: it is not TOML, or as :func:`read_text` says.
    """
    try:
        return tomllib.loads(read_text(path, MAX_TOML_BYTES))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
