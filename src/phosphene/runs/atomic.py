"""Files that appear whole or not at all."""

import contextlib
import errno
import glob
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from phosphene.errors import RunError
from phosphene.textfile import read_text

MOST_JSON_BYTES = 500_000_000  # run.json of a million maps has 60 MB

PART = ".part"  # end of the names of files that are being written


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file, whole or not at all, and make its folder if it is missing.

    Args:
        path: The file.
        data: Its content.
        durable: Wait until it is on the disk. Without that the file is whole as well, but a power cut may lose it.

    Raises:
        RunError: the disk is full, or the directory cannot be written; nothing is left behind.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        if durable:
            _sync_folder(path.parent)


def remove_parts(folder: Path, name: str = "") -> None:
    """Delete the ``.part`` files that killed writers have left in ``folder``: those of the file ``name``, or by default all.

    Call it under the lock that guards those files, because writers that are still alive have such files as well.
    """
    for left in folder.glob(f".{glob.escape(name)}*{PART}") if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            left.unlink()


def remove_files(paths: Iterable[Path]) -> None:
    """Delete the files at ``paths``, of which some may be missing; one that cannot be deleted stays: the error that led here says more."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` to the file ``path`` as indented JSON, whole or not at all; RunError if that fails."""
    write_bytes(path, (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, fix: str = "Delete it and run again.") -> Any:
    """Return the value in the JSON file ``path``; RunError if it is missing, or damaged: then the message ends with the text ``fix``.

    Args:
        path: The file.
        fix: Sentence that says what to do when it is damaged.

    Raises:
        RunError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(read_text(path, MOST_JSON_BYTES))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}. {fix}") from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context in which an OSError while writing ``path`` becomes a one-line :class:`RunError` that names the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"the disk is full while writing {path}: free some space and run the same command again."
            ) from None
        raise RunError(f"{path} cannot be written: {error.strerror or error}. Choose another path.") from None


def _sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a rename in it is durable; one that cannot be flushed is left as it is."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
