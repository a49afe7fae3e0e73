"""The run directory: the only place where results are written."""

from phosphene.runs.directory import RunDirectory, open_run
from phosphene.runs.facts import run_facts

__all__ = ["RunDirectory", "open_run", "run_facts"]
