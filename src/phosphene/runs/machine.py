"""Which machine this is, and whether a process of it still lives."""

import functools
import os
import socket
import uuid
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def machine() -> str:
    """Name the set of processes that this one can see: host, boot and, in a container, its process space."""
    try:
        boot = BOOT.read_text(encoding="utf-8").strip()
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:  # not Linux
        boot, space = f"{uuid.getnode():x}", ""
    return f"{socket.gethostname()} {boot} {space}".strip()


def began(pid: int) -> "int | None":
    """Return when a process of this machine began, in ticks: a number that is given again has another one.

    ``None`` where there is no such process, or only its remains; 0 where the system does not say.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() or not _exists(pid) else 0
    except OSError:
        return 0
    return None if fields[0] in "ZX" else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
