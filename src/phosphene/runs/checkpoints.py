"""Checkpoints of maps that are not finished: ``RUN/.checkpoints/<index>-<seed>``, named by a group's first map.

A file is a hash over this version and the rest, and the tensors of :meth:`phosphene.mapper.MapOptimization.state` with
the group's jobs. What is damaged, or of another version, is not a checkpoint.
"""

import contextlib
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from phosphene.concept_map import Job
from phosphene.runs.atomic import remove_parts, write_bytes
from phosphene.version import __version__

FOLDER = ".checkpoints"


class Checkpoint(NamedTuple):
    """Content of a checkpoint file: a group's jobs, and the tensors from which their maps go on.

    Attributes:
        jobs: The maps, in the order of the state's rows.
        state: Tensors of the unfinished optimization.
    """

    jobs: tuple[Job, ...]
    state: dict[str, Tensor]


class Checkpoints:
    """Writes, finds and deletes the checkpoints of one run, which are files in ``RUN/.checkpoints``.

    Args:
        path: The run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / FOLDER

    def save(self, jobs: Sequence[Job], state: dict[str, Tensor]) -> None:
        """Write the ``state`` of a group's maps to its checkpoint file, in place of an earlier one.

        Raises:
            RunError: it cannot be written.
        """
        data = save_tensors({**state, "jobs": torch.tensor([[job.index, job.seed] for job in jobs])})
        write_bytes(self._file(jobs[0]), _hash(data) + data)

    def find(self, jobs: Collection[Job]) -> "Checkpoint | None":
        """Return the first checkpoint whose maps are all among ``jobs``; ``None`` if there is none.

        Its jobs are taken from ``jobs``.
        """
        for job in jobs:
            checkpoint = self._read(self._file(job))
            if checkpoint is not None and set(checkpoint.jobs) <= set(jobs):
                job_of = {one: one for one in jobs}  # a checkpoint has the numbers of unions and contrasts alone
                return Checkpoint(tuple(job_of[one] for one in checkpoint.jobs), checkpoint.state)
        return None

    def drop(self, jobs: Sequence[Job]) -> None:
        """Delete the checkpoint of the group whose first map is the first of ``jobs``.

        It is no error if it is missing or cannot be deleted.
        """
        with contextlib.suppress(OSError):
            self._file(jobs[0]).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Delete half-written files of killed processes, then the folder if it is empty; the run must be locked."""
        remove_parts(self.path)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _file(self, job: Job) -> Path:
        """Return the path of the checkpoint of a group whose first map is ``job``."""
        return self.path / f"{job.index}-{job.seed}"

    def _read(self, file: Path) -> "Checkpoint | None":
        """Return the checkpoint in a file; ``None`` if it is missing, damaged or of another version."""
        try:
            data = file.read_bytes()
        except OSError:
            return None
        if _hash(data[64:]) != data[:64]:
            return None
        state = load_tensors(data[64:])
        return Checkpoint(tuple(Job(index, seed) for index, seed in state.pop("jobs").tolist()), state)


def _hash(data: bytes) -> bytes:
    """Return the hash over phosphene's version and a checkpoint's bytes, as 64 hexadecimal characters."""
    return hashlib.sha256(__version__.encode() + data).hexdigest().encode()
