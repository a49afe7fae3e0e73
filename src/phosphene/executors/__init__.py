"""Where maps are made: in this process, or on Ray."""

from phosphene.errors import SpecError
from phosphene.executors.base import Executor
from phosphene.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "pick_executor"]


def pick_executor(
    name: str = "local", *, workers: "int | None" = None, threads: "int | None" = None, gpus: float = 0.0
) -> Executor:
    """Return the executor by its name: ``local`` or ``ray``.

    Args:
        name: ``local`` for this machine, ``ray`` for the cluster that ``RAY_ADDRESS`` names (without it, a Ray of this
            machine alone).
        workers: Worker processes. ``local`` without ``workers`` and ``threads`` makes the maps in this process, with
            them it starts a local Ray; ``ray`` takes the room that the cluster has by default.
        threads: CPU threads per worker; by default the cores divided by the workers, on a cluster 1.
        gpus: GPUs per worker, also a fraction; for ``ray``.

    Raises:
        SpecError: there is no such executor, or ``gpus`` was given to ``local``.
        ExtraError: Ray is needed and not installed.
    """
    if name not in ("local", "ray"):
        raise SpecError(f"executor {name!r} is unknown: use local or ray.")
    if name == "local" and gpus:
        raise SpecError("gpus are for the executor ray; on this machine several workers share one GPU as they are.")
    if name == "local" and workers is None and threads is None:
        return LocalExecutor()
    from phosphene.executors.ray import RayExecutor  # noqa: PLC0415  (Ray is optional, and slow to import)

    if name == "local":
        return RayExecutor(workers or 1, threads=threads, cluster=False)
    return RayExecutor(workers, threads=threads, gpus=gpus)
