"""Stability: does another seed, that is other samples drawn and other views, give a map of the same class?"""

from phosphene.checks.context import CheckContext
from phosphene.checks.finding import Finding, all_of, two_decimals
from phosphene.checks.words import sentence


def find(context: CheckContext) -> Finding:
    """Judge maps of other seeds, made already: passed if hits are beyond chance and at least half as frequent as for the first."""
    first = context.predict(context.chosen)
    other = context.predict([sibling for one in context.chosen for sibling in context.same_class(one)])
    figures = first.figures("first") | other.figures("other") | context.reference()
    passed = all_of(other.beyond_chance, other.top1 >= first.top1 / 2) if first.beyond_chance else None
    words = context.words
    seen = words.recognised("the network", f"{other} maps from other seeds")
    facts = sentence(f"{seen}, and {first} from the first seeds")
    features = ""
    if context.across is not None:
        inside, outside = context.within["hog"], context.across.mean["hog"]
        same = inside > context.across.limit("hog", other.count)
        facts += (
            f" Two seeds of one {words.kind} have a similarity of {two_decimals(inside)} (HOG, 1 is the same image), two "
            f"{words.several} {two_decimals(outside)}."
        )
        features = f" Features move {'little' if same else 'much'} from seed to seed."
    if_passed = f"So the network recognises maps of other seeds, too.{features}"
    if_failed = f"The maps depend on the seed: make several, and do not rely on a single one.{features}"
    beyond_chance = [first.beyond_chance, other.beyond_chance]
    return context.judge("seeds", figures, passed, facts, if_passed, if_failed, beyond_chance)
