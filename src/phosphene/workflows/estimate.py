"""What a plan will cost, from a few steps taken here and now."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phosphene.checks import CheckContext
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.executors.base import MapPlan
from phosphene.mapper import MapOptimization, group_size, passes_of_steps, passes_per_map
from phosphene.recipe import Recipe
from phosphene.samples import SamplePool

MEASURED_SECONDS = 2.0
MOST_STEPS = 10


@dataclass(frozen=True)
class Estimate:
    """Cost of making a plan's missing maps.

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
    """Return what a plan's missing maps will cost, from a few timed steps.

    The steps are of its first maps, even if these are cached; nothing is written.

    Raises:
        NumericError: the network returns NaN or infinity.
        RecipeError: the recipe does not fit the network.
    """
    missing = plan.missing_count
    cost = missing * passes_per_map(plan.recipe, plan.pool)
    with plan.engine() as engine:
        seconds = cost * _seconds_per_pass(engine, plan.pool, plan.jobs, plan.recipe)
    return Estimate(len(plan.jobs) - missing, cost, seconds)


def estimate_checks(context: CheckContext, passes: int) -> float:
    """Return about how many seconds checks with so many passes will take, from a few timed steps.

    The steps are of the context's maps; nothing is written.

    Randomised networks are as quick as the network itself. Classifying the maps is not counted: it takes little.

    Raises:
        NumericError: the network returns NaN or infinity.
    """
    if not passes:
        return 0.0
    with context.engine() as engine:
        jobs = [one.job for one in context.chosen]
        return passes * _seconds_per_pass(engine, context.pool, jobs, context.recipe)


def _seconds_per_pass(engine: Engine, pool: SamplePool, jobs: Sequence[Job], recipe: Recipe) -> float:
    """Return how many seconds an image takes while maps are made.

    It times a few steps of the first ``jobs``, with an open engine.
    """
    jobs = jobs[: group_size(engine, recipe)]
    optimization = MapOptimization(engine, pool, jobs, recipe)
    optimization.engine.steps_per_fetch = 1  # so that every step is over when it is reported
    steps = iter(optimization)
    *_, warm_up = itertools.islice(steps, engine.first_steps)  # they pay for what is made once
    last_number = warm_up.number + 1  # a recipe may have no others
    began = time.perf_counter()
    for step in itertools.islice(steps, MOST_STEPS):
        last_number = step.number
        if time.perf_counter() - began > MEASURED_SECONDS:
            break
    passes = len(jobs) * passes_of_steps(optimization.effective_recipe, range(warm_up.number + 1, last_number + 1))
    return (time.perf_counter() - began) / passes
