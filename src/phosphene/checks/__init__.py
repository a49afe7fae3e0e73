"""Sanity checks of maps: do they show the network, or the method?

A check is one module with ``find(context)``, which returns its finding, and ``needs(context)``, which requests the
other maps that it takes. It is entered in ``CHECKS``.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phosphene.checks import cascade, diversity, fidelity, permuted_labels, random_weights, samples, seeds
from phosphene.checks.context import CheckContext, OnProgress, Request
from phosphene.checks.finding import Finding
from phosphene.errors import NumericError, PhospheneError, WeightsError, nearest
from phosphene.extras import require
from phosphene.metrics.similarity import LEAST_SIDE

__all__ = ["CHECKS", "Check", "CheckContext", "Finding", "OnProgress", "Request", "choose", "examine"]


@dataclass(frozen=True)
class Check:
    """One entry of ``CHECKS``: a question about maps, and the functions that answer it.

    Attributes:
        question: What it finds out, as the command and the report print it.
        find: Returns the finding; what it needs has been made.
        needs: Returns requests for the other maps that it compares the run's with, for which scikit-image is needed;
            ``None`` if it looks at the run's own maps alone.
    """

    question: str
    find: Callable[[CheckContext], Finding]
    needs: "Callable[[CheckContext], list[Request]] | None" = None

    def requests(self, context: CheckContext) -> list[Request]:
        """Return requests for the other maps that this check compares with; empty if there are none.

        Such maps are from another seed, a randomised network, other samples.
        """
        return self.needs(context) if self.needs and not context.too_small else []


# Those that make no maps come first, so that the first findings come at once.
CHECKS = {
    "fidelity": Check("how well the source classifier recognises the maps, by contrast", fidelity.find),
    "permuted-labels": Check("whether top-1 notices permuted classes, which M_score cannot", permuted_labels.find),
    "cascade": Check(
        "whether the maps depend on what the network has learned, block by block", cascade.find, cascade.needs
    ),
    "random-weights": Check("what maps a network with random weights gives", random_weights.find, random_weights.needs),
    "seeds": Check("whether another seed gives maps of the same classes", seeds.find, CheckContext.second_seeds),
    "diversity": Check("how much seeds of one concept differ", diversity.find, CheckContext.second_seeds),
    "samples": Check("whether other samples give maps of the same classes", samples.find, samples.needs),
}


def choose(names: Sequence[str] = ()) -> list[str]:
    """Return the names of the checks to run, ``names`` or all, in the order of ``CHECKS``.

    Raises:
        PhospheneError: a check does not exist.
        ExtraError: a check needs a library that is not installed.
    """
    for name in names:
        if name not in list(CHECKS):  # a list among the names cannot be looked up
            raise PhospheneError(
                f"no check is called {name!r}.{nearest(str(name), list(CHECKS)) or ' Checks: ' + ', '.join(CHECKS)}"
            )
    chosen_names = [name for name in CHECKS if name in names or not names]
    if any(CHECKS[name].needs for name in chosen_names):
        require("skimage.metrics", "checks")
    return chosen_names


def examine(name: str, context: CheckContext) -> Finding:
    """Make the maps that the named check still lacks, and return its Finding.

    Its ``cost`` is their number. It has no verdict if the check could not be made.

    It cannot after a NumericError, or a WeightsError, as some networks cannot be randomised, and if the maps are too
    small to compare them with others. Maps that exist already cost nothing.
    """
    check, count_before = CHECKS[name], len(context.made)
    if check.needs and context.too_small:
        reason = f"its maps have sides below {LEAST_SIDE} pixels, too small to compare them with others."
        return Finding(name, {}, None, f"It could not be judged: {reason}")
    try:
        context.make(check.requests(context))
        finding = check.find(context)
    except (NumericError, WeightsError) as error:  # a randomised network may overflow; some cannot be randomised
        finding = Finding(name, {}, None, f"It could not be judged: {error}")
    return dataclasses.replace(finding, cost=len(context.made) - count_before)
