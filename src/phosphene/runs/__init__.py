"""The run directory: the only place where results are written."""

from phosphene.runs.directory import RunDirectory, RunFacts
from phosphene.runs.show import open_run

__all__ = ["RunDirectory", "RunFacts", "open_run"]
