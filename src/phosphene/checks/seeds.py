"""Stability: does another seed, that is other samples drawn and other views, give a map of the same class?"""

from phosphene.checks.context import CheckContext
from phosphene.checks.finding import Finding, all_of, two_decimals
from phosphene.checks.words import sentence


def find(context: CheckContext) -> Finding:
    """Judge maps of other seeds, made already, which the network should recognise as well.

    Passed if their hits are beyond chance, and at least half as frequent as those of the first seeds.
    """
    of_first = context.predict(context.chosen)
    of_other = context.predict([sibling for one in context.chosen for sibling in context.same_class(one)])
    figures = of_first.figures("first") | of_other.figures("other") | context.reference()
    passed = all_of(of_other.beyond_chance, of_other.top1 >= of_first.top1 / 2) if of_first.beyond_chance else None
    words = context.words
    other_clause = words.recognised("the network", f"{of_other} maps from other seeds")
    facts = sentence(f"{other_clause}, and {of_first} from the first seeds")
    features = ""
    if context.across is not None:
        within, across = context.within["hog"], context.across.mean["hog"]
        features_stay = within > context.across.limit(of_other.count)
        facts += (
            f" Two seeds of one {words.kind} have a similarity of {two_decimals(within)} (HOG, 1 is the same image), two "
            f"{words.several} {two_decimals(across)}."
        )
        features = f" Maps of two seeds are {'' if features_stay else 'not '}more alike, edge by edge, than maps of two {words.several}."
    if_passed = f"So the network recognises maps of other seeds, too.{features}"
    if_failed = f"The maps depend on the seed: make several, and do not rely on a single one.{features}"
    beyond_chance = [of_first.beyond_chance, of_other.beyond_chance]
    return context.judge("seeds", figures, passed, facts, if_passed, if_failed, beyond_chance)
