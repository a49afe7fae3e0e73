"""How little of each family's pattern sends every sample to each class, all classes in one stream."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from phosphene.backdoor.families import FAMILIES
from phosphene.backdoor.margin import largest_margin
from phosphene.backdoor.search import Effort, Samples, smallest
from phosphene.engine import Engine
from phosphene.errors import RecipeError, nearest
from phosphene.runs.scan_cache import Cache, no_cache

MARGIN = "margin"
# What is measured of every class, and what its sizes are called.
STATISTICS = {
    **{name: (family.title, family.unit) for name, family in FAMILIES.items()},
    MARGIN: ("how sure it can be made", "1 / logit margin"),
}
MARGIN_STEPS, MARGIN_STARTS = 60, 4
FEW = 64  # so many classes are all searched; of more, a look chooses some
PASTED = tuple(name for name, family in FAMILIES.items() if not family.additive)  # what that look is for
SATURATED = 0.5  # share of classes without a working pattern from which a family says nothing
SLACK = 0.2  # how far below its demand a success at the end may lie: the search circles around it

Watch = Callable[[str, int, int], None]
"""Called with the statistic, the step, and the number of steps."""


@dataclass(frozen=True)
class Measured:
    """What one family found, for the classes that were looked at.

    Attributes:
        size: (m,): the smallest working pattern of each class, in the family's unit.
        reached: (m,): whether a working pattern was found at all.
    """

    size: Tensor
    reached: Tensor

    @property
    def saturated(self) -> bool:
        """Whether the family reaches too few classes to compare them."""
        return float(self.reached.float().mean()) < SATURATED


def choose(names: Sequence[str], classes: int) -> tuple[str, ...]:
    """Return the statistics that are wanted; where none is named, all, or of many classes what their look is for.

    Args:
        names: Of :data:`STATISTICS`.
        classes: Of the network.

    Raises:
        RecipeError: there is no such statistic.
    """
    for name in names:
        if name not in STATISTICS:
            fix = nearest(name, list(STATISTICS)) or f" There are {', '.join(STATISTICS)}."
            raise RecipeError(f"no family of patterns is called {name!r}.{fix}")
    return tuple(dict.fromkeys(names)) or (tuple(STATISTICS) if classes <= FEW else PASTED)


def measure(
    engine: Engine,
    samples: Samples,
    classes: Tensor,
    names: Sequence[str],
    effort: Effort,
    *,
    seed: int = 0,
    watch: "Watch | None" = None,
    keep: Cache = no_cache,
) -> dict[str, Measured]:
    """Measure classes (m,) by each of the statistics.

    Args:
        engine: An open engine.
        samples: What patterns are made from.
        classes: int64 (m,).
        names: Of :data:`STATISTICS`.
        effort: Of each search.
        seed: Of draws and starts.
        watch: See :data:`Watch`.
        keep: What keeps each statistic for a scan that is interrupted.

    Raises:
        NumericError: the network answers with NaN or infinity.
    """

    def of(name: str) -> Measured:
        if name == MARGIN:
            loud = largest_margin(engine, classes, samples.shape, steps=MARGIN_STEPS, starts=MARGIN_STARTS, seed=seed)
            # The louder, the smaller; a class that cannot be said at all is not reached.
            return Measured(1 / loud.clamp_min(1e-3).cpu().double(), (loud > 0).cpu())
        tell = teller(name, effort.steps, watch)
        one = smallest(engine, FAMILIES[name], samples, classes, effort, seed=seed, watch=tell)
        reached = one.success >= effort.success - SLACK
        return Measured(one.size.cpu().double(), reached.cpu())

    found = {}
    for name in names:
        found[name] = Measured(**keep(name, lambda name=name: vars(of(name))))  # type: ignore[misc]
        if watch is not None:  # also of what was there already
            watch(name, 1, 1)
    return found


def passes(names: Sequence[str], effort: Effort) -> int:
    """Images that measuring one class sends through the network, a backward counted as one more."""
    searches = sum(name in FAMILIES for name in names)
    return searches * effort.passes + (MARGIN in names) * 2 * MARGIN_STEPS * MARGIN_STARTS


def teller(what: str, steps: int, watch: "Watch | None") -> "Callable[[int], None] | None":
    """Return what a search calls after every step."""
    return None if watch is None else lambda step: watch(what, step, steps)
