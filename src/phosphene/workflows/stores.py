"""Where a worker's results go: into the run directory, or, where it cannot see that, back to the driver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from phosphene.concept_map import ConceptMap, Job
from phosphene.errors import RunError
from phosphene.runs import RunDirectory
from phosphene.runs.checkpoints import Checkpoint, Checkpoints
from phosphene.runs.leases import Leases


class Store(Protocol):
    """What a worker asks of the place where results go."""

    def there(self, job: Job, label: str) -> "ConceptMap | None":
        """Return a map that is there and whole."""

    def claim(self, job: Job) -> bool:
        """Take the right to make a map; no other process has it then."""

    def release(self, job: Job) -> None:
        """Give that right back."""

    def begun(self, jobs: Sequence[Job]) -> "Checkpoint | None":
        """Return where some of ``jobs``, and no others, were left."""

    def keep(self, jobs: Sequence[Job], state: dict[str, Tensor]) -> None:
        """Keep where a group stands."""

    def forget(self, jobs: Sequence[Job]) -> None:
        """Drop what was kept of a group."""

    def write(self, one: ConceptMap) -> bool:
        """Write a finished map; say whether that was possible here."""

    def close(self) -> None:
        """Give all rights back."""


class DirectoryStore:
    """A run directory on a disk that this process sees.

    Args:
        path: The run directory.
        driver: Whose work this is.
    """

    def __init__(self, path: Path, driver: str) -> None:
        self.run, self.leases, self.checkpoints = RunDirectory(path), Leases(path, driver), Checkpoints(path)
        self.claim, self.release, self.close = self.leases.claim, self.leases.release, self.leases.close
        self.begun, self.keep, self.forget = self.checkpoints.find, self.checkpoints.save, self.checkpoints.drop

    def there(self, job: Job, label: str) -> "ConceptMap | None":
        """Return a map that is there and whole: its tensors have the noted hash."""
        try:
            return self.run.read(self.run.folder(job, label))
        except RunError:
            return None

    def write(self, one: ConceptMap) -> bool:
        """Write a finished map."""
        self.run.write(one)
        return True


class ReturningStore:
    """No disk in common with the driver: it has looked and holds the leases, and it writes what comes back."""

    def there(self, job: Job, label: str) -> "ConceptMap | None":
        """Return nothing: the driver has looked."""
        return None

    def claim(self, job: Job) -> bool:
        """Return true: the driver holds the lease."""
        return True

    def release(self, job: Job) -> None:
        """Do nothing."""

    def begun(self, jobs: Sequence[Job]) -> "Checkpoint | None":
        """Return nothing: without a common disk a map that was stopped begins anew."""
        return None

    def keep(self, jobs: Sequence[Job], state: dict[str, Tensor]) -> None:
        """Do nothing."""

    def forget(self, jobs: Sequence[Job]) -> None:
        """Do nothing."""

    def write(self, one: ConceptMap) -> bool:
        """Return false: the driver writes it."""
        return False

    def close(self) -> None:
        """Do nothing."""
