"""Many jobs: plan them, run them, go on where they stopped."""

from phosphene.fleet.mapping import MapPlan, execute, plan

__all__ = ["MapPlan", "execute", "plan"]
