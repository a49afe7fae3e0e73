"""Sanity checks of maps: do they show the network, or the method?

A check is one module with ``needs(bench)``, the other maps that it takes, and ``find(bench)``, named in ``CHECKS``.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from phosphene.checks import cascade, diversity, fidelity, permuted_labels, random_weights, samples, seeds
from phosphene.checks.bench import Bench, Request, Standing
from phosphene.checks.finding import Finding
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.errors import NumericError, PhospheneError, WeightsError, nearest
from phosphene.extras import require
from phosphene.recipe import Recipe
from phosphene.samples import SamplePool

__all__ = ["CHECKS", "Bench", "Check", "Finding", "Request", "Standing", "check_maps", "choose", "examine"]


class Check(Protocol):
    """What a module for a check offers."""

    compares: bool
    """Whether it compares pictures, for which scikit-image is needed."""

    def needs(self, bench: Bench) -> list[Request]:
        """Say which other maps it takes."""

    def find(self, bench: Bench) -> Finding:
        """Give the verdict; what it needs has been made."""


# name -> what it asks, and the module; those that make no maps come first, so that there is something to read at once.
CHECKS: dict[str, tuple[str, Check]] = {
    "fidelity": ("how far the maps carry on their own network, by contrast", fidelity),
    "permuted-labels": ("whether top-1 sees that classes are mixed up, which M_score cannot", permuted_labels),
    "cascade": ("whether the maps go with what the network has learned, block by block", cascade),
    "random-weights": ("what a network that has learned nothing gives", random_weights),
    "seeds": ("whether another seed says the same", seeds),
    "diversity": ("how much seeds of one concept differ", diversity),
    "samples": ("whether other samples say the same", samples),
}


def choose(names: Sequence[str] = ()) -> list[str]:
    """Return the names of checks in their order, all of them where none is named.

    Raises:
        PhospheneError: a check does not exist.
        ExtraError: a check needs a library that is not there.
    """
    for name in names:
        if name not in CHECKS:
            known = list(CHECKS)
            raise PhospheneError(
                f"no check is called {name!r}.{nearest(name, known) or ' Checks: ' + ', '.join(known)}"
            )
    chosen = [name for name in CHECKS if name in names or not names]
    if any(CHECKS[name][1].compares for name in chosen):
        require("skimage.metrics", "checks")
    return chosen


def examine(name: str, bench: Bench) -> Finding:
    """Make the maps that a check needs, and run it."""
    check, before = CHECKS[name][1], len(bench.made)
    try:
        bench.make(check.needs(bench))
        found = check.find(bench)
    except (NumericError, WeightsError) as error:  # drawn anew, a network may overflow; some cannot be drawn anew
        found = Finding(name, {}, None, f"It could not be judged: {error}")
    return dataclasses.replace(found, cost=len(bench.made) - before)


def check_maps(
    classifier: Classifier,
    pool: SamplePool,
    recipe: Recipe,
    maps: Sequence[ConceptMap],
    only: Sequence[str] = (),
    **options: Any,
) -> list[Finding]:
    """Check maps of a classifier.

    Args:
        classifier: Where the maps come from.
        pool: The samples that they were made from.
        recipe: What they were made by.
        maps: At least one.
        only: Names of checks; all by default.
        options: Of :class:`Bench`.

    Raises:
        PhospheneError: a check does not exist.
        ExtraError: a check needs a library that is not there.
    """
    names = choose(only)
    bench = Bench(classifier, pool, recipe, maps, **options)
    return [examine(name, bench) for name in names]
