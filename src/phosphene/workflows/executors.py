"""Executors by the names that the command line gives them."""

import importlib
from typing import cast

from phosphene.errors import SpecError
from phosphene.workflows.inline import Inline
from phosphene.workflows.local import Local
from phosphene.workflows.protocol import Executor


def pick_executor(
    name: str = "local",
    *,
    workers: "int | None" = None,
    threads: "int | None" = None,
    gpus: float = 0.0,
    device: str = "auto",
) -> Executor:
    """Return an executor.

    Args:
        name: ``local`` or ``ray``.
        workers: How many; by default ``local`` works in this process, ``ray`` takes the room that the cluster has.
        threads: Of each worker.
        gpus: GPUs of each worker, also a fraction; for ``ray``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        SpecError: there is no such executor.
        ExtraError: it needs a library that is not installed.
    """
    if name == "ray":
        ray = importlib.import_module("phosphene.workflows.ray")
        return cast("Executor", ray.Ray(workers, threads=threads or 1, gpus=gpus))
    if name != "local":
        raise SpecError(f"executor {name!r} is unknown: use local or ray.")
    if gpus:
        raise SpecError("--gpus is for --executor ray; on this machine several --workers share one GPU as they are.")
    if workers is None and threads is None:
        return Inline(device)
    return Local(workers or 1, threads=threads, device=device)
