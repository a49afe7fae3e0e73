"""The run directory: the only place where results are written."""

from phosphene.runs.directory import RunDirectory, open_run
from phosphene.runs.facts import RunFacts

__all__ = ["RunDirectory", "RunFacts", "open_run"]
