"""Many jobs: plan them, run them, go on where they stopped."""

from phosphene.fleet.mapping import MapPlan, default_run, execute, plan, run_name

__all__ = ["MapPlan", "default_run", "execute", "plan", "run_name"]
