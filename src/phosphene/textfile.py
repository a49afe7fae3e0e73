"""Reads text and TOML files from anywhere, after checking that they are regular files of limited size; says what else is there."""

import contextlib
import itertools
import os
import re
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phosphene.errors import PhospheneError, first_few, one_line

MAX_TOML_BYTES = 1_000_000
LFS = b"version https://git-lfs"
LEAST_SIMILAR = 0.5  # ratio of difflib from which names are similar, as in phosphene.errors.nearest
MOST_ENTRIES = 2000  # entries of a folder


def read_text(path: Path, max_bytes: int) -> str:
    """Return the text of a regular file of at most ``max_bytes`` bytes.

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
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows begin files with a byte order mark
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text: save it as UTF-8") from None


def at_home(spec: str) -> str:
    """Return a path, or a spec such as ``hf:~/nets/vit``, with the user's home folder in place of a ``~`` that begins the path."""
    return re.sub(r"^(\w+:)?~(?=/|$)", lambda match: (match[1] or "") + str(Path.home()), spec)


# What a user gives may be a path: unlike pathlib, these find nothing where a name is too long or has a null character.


def exists(path: "str | Path") -> bool:
    """Return whether there is a file or folder at ``path``."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: "str | Path") -> bool:
    """Return whether there is a regular file at ``path``."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: "str | Path") -> bool:
    """Return whether there is a folder at ``path``."""
    return os.path.isdir(path)  # noqa: PTH112


def is_utf8(text: str) -> bool:
    """Return whether text can be written to a file.

    A path that is not UTF-8 cannot, nor can half a character (a lone surrogate).
    """
    return not any("\ud800" <= one <= "\udfff" for one in text)


def read_toml(path: Path, what: str, kind: type[PhospheneError], fix: str) -> dict[str, Any]:
    """Read a TOML file and return its content as a dictionary.

    Args:
        path: The file.
        what: Name of this kind of file, for messages.
        kind: Type of the error.
        fix: What to do if neither it nor any other TOML file is there.

    Raises:
        PhospheneError: of type ``kind``: the file does not exist, cannot be read as :func:`read_text` says, or is not
            TOML.
    """
    with one_line(kind, f"{what} {path} cannot be read"):
        if not exists(path):
            raise kind(missing(what, path, fix))
        return tomllib.loads(read_text(path, MAX_TOML_BYTES))


def refuse_no_model(path: Path, kind: type[PhospheneError]) -> None:
    """Raise a ``kind`` error if by its size and first bytes a file holds no model.

    It may be what a download leaves behind.

    Raises:
        PhospheneError: of type ``kind``: it cannot be read, is empty, a web page, a pointer of Git LFS, compressed, or cut off.
    """
    with one_line(kind, f"{path} cannot be read"), path.open("rb") as file:
        head = file.read(200)
    again = "download the file itself"
    problems = {
        f"is empty: {again}": not head,
        "is a pointer of Git LFS, which stands for the file: fetch that with `git lfs pull`": head.startswith(LFS),
        f"is a web page: {again}": head.lstrip().lower().startswith((b"<!doctype html", b"<html")),
        "is compressed: unpack it with gunzip": head.startswith(b"\x1f\x8b"),
        "is cut off: download it again": head.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path),
    }
    for what in [what for what, is_so in problems.items() if is_so]:
        raise kind(f"{path} {what}.")


def missing(what: str, path: Path, fix: str = "Correct the card, or put the file there.") -> str:
    """Return the message that ``path`` does not exist; it names files of the same suffix in the folder.

    Without any, it ends with ``fix``.

    Args:
        what: Name of this kind of file.
        path: The file; files with the same suffix are of its kind.
        fix: A sentence that says what to do.
    """
    others = nearby(path, lambda one: one.suffix == path.suffix and one.is_file())
    return f"{what} {path} does not exist. {f'The same folder holds {others}.' if others else fix}"


def nearby(path: Path, fits: Callable[[Path], bool]) -> str:
    """Return the names of a few files beside ``path`` that ``fits`` accepts: similar ones first, the others by name."""
    import difflib  # noqa: PLC0415  (needed for errors only)

    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):  # a folder that is not there, or cannot be read
        names = [one.name for one in itertools.islice(path.parent.iterdir(), MOST_ENTRIES) if fits(one)]
    likeness = {name: difflib.SequenceMatcher(None, path.name, name).ratio() for name in names}
    return first_few(sorted(names, key=lambda name: (-likeness[name] * (likeness[name] >= LEAST_SIMILAR), name)))
