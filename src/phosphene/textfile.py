"""Text files from anywhere: regular files of a believable size, whatever they hold."""

import tomllib
from pathlib import Path
from typing import Any

MOST_TOML = 1_000_000


def read_text(path: Path, most: int, encoding: str = "utf-8") -> str:
    """Read a text file of at most ``most`` bytes.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
        ValueError: it is a pipe or a device, is larger, or is no text.
    """
    size = path.stat().st_size
    if not path.is_file() and not path.is_dir():  # reading a pipe would wait for ever; of a folder, open() says it
        raise ValueError("it is no regular file")
    if size > most and not path.is_dir():
        raise ValueError(f"it has {size:,} bytes, and at most {most:,} are believed")
    return path.read_text(encoding=encoding)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
        ValueError: it is no TOML, or see :func:`read_text`.
    """
    try:
        return tomllib.loads(read_text(path, MOST_TOML))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
