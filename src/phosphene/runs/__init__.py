"""The run directory: the only place where results are written."""

from phosphene.runs.directory import RunDirectory
from phosphene.runs.facts import run_facts

__all__ = ["RunDirectory", "run_facts"]
