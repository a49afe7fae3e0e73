"""What a plan will cost, from a few steps taken here and now."""

import itertools
import time
from dataclasses import dataclass
from typing import Any

from phosphene.executors.base import MapPlan
from phosphene.mapper import MapOptimization, passes_per_map

ENOUGH_SECONDS = 2.0
MOST_STEPS = 10


@dataclass(frozen=True)
class Estimate:
    """Cost of making a plan's missing maps: ``passes`` (images run, a backward pass as one more) and seconds; and how many maps are cached.

    Attributes:
        cached: Maps that are finished already.
        passes: Images that the others send through the network, a backward counted as one more.
        seconds: Time for these in one process of this machine, under its present load.
    """

    cached: int
    passes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return ``cached``, ``passes_left`` and ``seconds`` by name, for ``map --dry-run --json``."""
        return {"cached": self.cached, "passes_left": self.passes, "seconds": round(self.seconds, 1)}


def estimate(plan: MapPlan) -> Estimate:
    """Time a few steps of a plan's first maps, even if these are cached; write nothing; return what all missing maps will cost.

    Raises:
        NumericError: the network returns NaN or infinity.
        RecipeError: the recipe does not fit the network.
    """
    left = plan.missing_count
    with plan.engine() as engine:
        engine.steps_per_fetch = 1  # so that every step is over when it is reported
        jobs = plan.jobs[: plan.group_size]
        steps, taken = iter(MapOptimization(engine, plan.pool, jobs, plan.recipe)), 1  # a recipe may have no others
        *_, first = itertools.islice(steps, engine.first_steps)  # they pay for what is made once
        began = time.perf_counter()
        for step in itertools.islice(steps, MOST_STEPS):
            taken = step.number - first.number
            if time.perf_counter() - began > ENOUGH_SECONDS:
                break
        elapsed = time.perf_counter() - began
    each = plan.recipe.batch_size * (4 if plan.recipe.sign_test else 2) * len(jobs)
    cost = left * passes_per_map(plan.recipe)
    return Estimate(len(plan.jobs) - left, cost, cost * elapsed / (taken * each))
