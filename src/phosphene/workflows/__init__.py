"""Many jobs: plan them, run them, go on where they stopped."""

from phosphene.workflows.map import MapPlan, Outcome, default_run, execute, plan, run_name
from phosphene.workflows.reading import note_own_readings
from phosphene.workflows.score import ScoredRun, score_runs

__all__ = [
    "MapPlan",
    "Outcome",
    "ScoredRun",
    "default_run",
    "execute",
    "note_own_readings",
    "plan",
    "run_name",
    "score_runs",
]
