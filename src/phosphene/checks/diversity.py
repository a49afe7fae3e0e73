"""Diversity: how much the seeds of one concept differ from each other."""

import itertools

from phosphene.checks.baseline import means
from phosphene.checks.bench import Bench, Request
from phosphene.checks.finding import Finding, spell

compares = True


def needs(bench: Bench) -> list[Request]:
    """Ask for a second seed where the run has one."""
    return bench.second_seeds()


def find(bench: Bench) -> Finding:
    """Return 1 less the mean similarity of the seeds of a concept; there is no rule that it could break."""
    groups = [[one, *bench.same_class(one)] for one in bench.chosen]
    inside = means(pair for group in groups for pair in itertools.combinations(group, 2))
    figures = {f"diversity_{name}_at_seeds": 1 - value for name, value in inside.items()}
    differ = spell(figures["diversity_hog_at_seeds"])
    words = f"Seeds of one concept differ by {differ} (1 less HOG; 0 is the same picture)"
    if bench.across is not None:
        figures |= {f"diversity_{name}_at_classes": 1 - value for name, value in bench.across.mean.items()}
        words += f", different concepts by {spell(figures['diversity_hog_at_classes'])}"
    figures["seeds"] = float(max(map(len, groups)))
    meaning = (
        "Low means that one map says it all; high, that several seeds show more of the concept than one, or that a "
        "single one is partly chance: the check of seeds tells which."
    )
    return Finding("diversity", figures, None, f"{words}. {meaning}")
