"""The run directory: the only place where results are written."""

from phosphene.runs.directory import RunDirectory, RunFacts

__all__ = ["RunDirectory", "RunFacts"]
