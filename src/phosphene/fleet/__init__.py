"""Many jobs: plan them, run them, go on where they stopped."""

from phosphene.fleet.mapping import MapPlan, default_run, execute, plan, run_name
from phosphene.fleet.scoring import ScoredRun, score_runs

__all__ = ["MapPlan", "ScoredRun", "default_run", "execute", "plan", "run_name", "score_runs"]
