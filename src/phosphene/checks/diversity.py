"""Diversity: how much the seeds of one concept differ from each other."""

import itertools

from phosphene.checks.baseline import mean_similarities
from phosphene.checks.context import CheckContext
from phosphene.checks.finding import Finding, two_decimals


def find(context: CheckContext) -> Finding:
    """Return a finding of figures only: 1 less the mean similarity between seeds of a class."""
    groups = [[one, *context.same_class(one)] for one in context.chosen]
    within = mean_similarities(pair for group in groups for pair in itertools.combinations(group, 2))
    figures = {f"diversity_{name}_at_seeds": 1 - value for name, value in within.items()}
    facts = (
        f"Seeds of one concept differ by {two_decimals(figures['diversity_hog_at_seeds'])} "
        "(1 less HOG; 0 is the same image)"
    )
    if context.across is not None:
        figures |= {f"diversity_{name}_at_classes": 1 - value for name, value in context.across.mean.items()}
        facts += f", different concepts by {two_decimals(figures['diversity_hog_at_classes'])}"
    figures["seeds"] = float(max(map(len, groups)))
    meaning = (
        "Low means that seeds look alike; high, that several seeds show more of the concept than one, or that a "
        "single one is partly chance: the check of seeds shows which."
    )
    return Finding("diversity", figures, None, f"{facts}. {meaning}")
