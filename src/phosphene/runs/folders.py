"""Folders that appear whole or not at all."""

import contextlib
import glob
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from phosphene.errors import RunError
from phosphene.runs.atomic import writing


@contextlib.contextmanager
def whole_folder(folder: Path, content: Collection[str], called: str, optional: Collection[str] = ()) -> Iterator[Path]:
    """Context that yields a temporary folder to fill, and puts it at ``folder`` at its end.

    If the block fails, ``folder`` stays as it was. A lock beside it, ``.NAME.lock``, is held meanwhile. What a killed process
    has left beside it is removed, and a folder that it had moved aside is put back first.

    Args:
        folder: The folder: a new one, an empty one, or one with all that is in ``content`` and nothing else but ``optional``.
        content: Names of what is always written into it.
        called: What it is, for messages.
        optional: Names of what else may be written into it.

    Yields:
        The folder to write into.

    Raises:
        RunError: the place holds something else, is being written by another command, or cannot be written.
    """
    with writing(folder):
        place = folder.resolve()
        _refuse_other_content(folder, content, called, optional)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(place.with_name(f".{place.name}.lock")).acquire(timeout=0)
        except Timeout:
            raise RunError(f"{folder} is being written by another command: wait until it ends.") from None
    with held, writing(folder):
        beside = f".{place.name}.phosphene-"
        moved_aside = list(place.parent.glob(f"{glob.escape(beside)}*.old"))
        if moved_aside and not place.exists():  # by a process that was killed between the two moves below
            moved_aside[0].replace(place)
        for left in place.parent.glob(f"{glob.escape(beside)}*"):
            shutil.rmtree(left, ignore_errors=True)
        part = place.with_name(f"{beside}{secrets.token_hex(4)}.part")
        part.mkdir()
        old = part.with_suffix(".old")
        try:
            yield part
            _refuse_other_content(folder, content, called, optional)
            if place.exists():
                place.replace(old)
            part.replace(place)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            if old.exists() and not place.exists():
                old.replace(place)
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _refuse_other_content(folder: Path, content: Collection[str], called: str, optional: Collection[str]) -> None:
    """Raise RunError unless ``folder`` is missing, empty, or holds all names in ``content`` and no others but ``optional``.

    Raises:
        RunError: it is a file, or a folder with other content.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, not a folder: choose another folder.")
    names = {one.name for one in folder.iterdir()} if folder.exists() else set()
    if names and not names >= set(content):
        raise RunError(f"{folder} holds files but is not {called}: choose another folder.")
    others = sorted(names - {*content, *optional})
    if others:
        raise RunError(f"{folder} holds {others[0]}, no part of {called}: move it away, or choose another folder.")
