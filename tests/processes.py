"""Which processes run, on any system: the fault tests kill some of them, and none but their own."""

import contextlib
import os

import psutil


def descendants(text: str, ancestor: "int | None" = None) -> list[int]:
    """Running processes below another, by default below this one, with a text in their command line."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(ancestor or os.getpid()).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if any(text in word for word in process.cmdline()):
                    found.append(process.pid)
    return found


def running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
