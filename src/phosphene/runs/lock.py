"""One command at a time works on a run directory: a file lock, and a note that names who holds it."""

import contextlib
import datetime as dt
import json
import os
import shlex
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from phosphene.errors import RunError, printable
from phosphene.runs.atomic import read_json, write_bytes, writing

LOCK, NOTE = ".lock", ".lock.json"
WAIT_SECONDS = 10.0  # most rewrites take milliseconds
MOST_CHARACTERS = 200  # longest command that is shown, in characters


@contextlib.contextmanager
def hold(folder: Path, *, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Lock a run directory against other processes for the ``with`` block, and note who holds it: see :func:`holder`.

    Who holds it already may hold it again.

    Args:
        folder: The run directory; it is created.
        wait: Seconds to wait for another command that holds it.

    Raises:
        RunError: another command holds it, which is named, or the directory cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder.resolve() / LOCK), is_singleton=True)
        try:
            acquired = lock.acquire(timeout=wait)
        except Timeout:
            raise RunError(_refusal(folder)) from None
    with acquired:
        if lock.lock_counter > 1:  # held already, and noted
            yield
            return
        try:
            _write_note(folder)
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / NOTE).unlink(missing_ok=True)


def holder(folder: Path) -> dict[str, Any]:
    """Return the note of who holds a run, stale after a kill; an empty dictionary if there is none.

    It has ``token``, which is another one each time that the run is held, ``pid``, ``host``, ``command`` and ``since``.
    """
    try:
        note = read_json(folder / NOTE)
    except RunError:
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(folder: Path) -> None:
    """Write ``.lock.json``, which says which process and command hold the run, with a new token."""
    program = Path(sys.argv[0] if sys.argv and sys.argv[0] else "python")
    program = program.parent if program.name == "__main__.py" else program  # python -m phosphene
    note = {
        "token": uuid.uuid4().hex,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": shlex.join([program.name, *sys.argv[1:]])[:MOST_CHARACTERS],
        "since": dt.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_bytes(folder / NOTE, json.dumps(note).encode(), durable=False)


def _refusal(folder: Path) -> str:
    """Return the message of the RunError that a run is in use, with the command that holds it."""
    note = holder(folder)
    who = "another command"
    if {"pid", "host", "command", "since"} <= set(note):
        who = printable(f"`{note['command']}` (process {note['pid']} on {note['host']}, since {note['since']})")
    return f"{folder} is in use by {who}: wait until it ends, or choose another run directory."
