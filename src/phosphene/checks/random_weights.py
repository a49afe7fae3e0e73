"""A random-weights control: what maps a network with random weights gives."""

from phosphene.checks.context import CheckContext, Request
from phosphene.checks.finding import Finding, all_of
from phosphene.checks.words import sentence


def needs(context: CheckContext) -> list[Request]:
    """Return requests for ``context.chosen`` with all weights randomised, and for second seeds."""
    return [*(context.under(context.depths[-1]) if context.depths else []), *context.second_seeds()]


def find(context: CheckContext) -> Finding:
    """Judge maps made with random weights, which the trained network should not recognise.

    Passed when the trained network classifies them at chance, and HOG finds them no more similar to its own than maps
    of different classes are to each other.
    """
    if not context.depths:
        return Finding("random-weights", {}, None, "The network has no weights that could be randomised.")
    maps = context.take(context.under(context.depths[-1]))
    similarity = context.similarity(maps)
    random, trained = context.predict(maps, context.depths[-1]), context.predict(maps)
    figures = similarity.figures("random") | random.figures("random") | trained.figures("trained") | context.reference()
    of_run = context.predict(context.chosen).beyond_chance
    maps_recognised = of_run or None  # else it recognises nothing here anyway
    passed = all_of(similarity.as_different_classes, trained.at_chance, maps_recognised)
    words = context.words
    by_random, by_trained = (
        f"{words.recognised(network, f'{one} of them')} ({words.confidence} {words.number(one.p_class)})"
        for network, one in (("it", random), ("the trained network", trained))
    )
    facts = f"A network of this shape with random weights gives maps, too: {by_random}. {sentence(by_trained)}"
    if_passed = "So what the trained network recognises in its own maps comes from training."
    if_failed = "So the maps owe something to the method or the architecture, not to training."
    beyond_chance = [of_run, trained.beyond_chance]
    return context.judge("random-weights", figures, passed, facts, if_passed, if_failed, beyond_chance)
