"""Which processes run, on any system: the fault tests kill some of them."""

import contextlib

import psutil


def called(text: str, parent: "int | None" = None) -> list[int]:
    """Processes with a text in their command line, of all or of a parent's children; none that has ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile, or belongs to another user
            if parent in (None, process.ppid()) and any(text in word for word in process.cmdline()):
                found.append(process.pid)
    return found


def running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
