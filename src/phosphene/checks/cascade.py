"""Cascading randomisation (Adebayo et al. 2018, arXiv 1810.03292): do the maps depend on what the network has learned?

The network's blocks are randomised from the last to the first, and the maps are made again, with the same recipe, seed
and samples.
"""

from phosphene.checks.context import CheckContext, Request
from phosphene.checks.finding import Finding, all_of, two_decimals

# With the head and the last block randomised the network knows nothing of classes: the verdict is taken there.
VERDICT_DEPTH = 2


def needs(context: CheckContext) -> list[Request]:
    """Return requests for ``context.chosen`` at each of ``context.depths``, and for second seeds.

    Second seeds are for classes that have one seed only. There are no requests if some units are of inner layers.
    """
    if context.has_inner_units:
        return []
    depths = context.depths if context.same_samples else [0, *context.depths]
    return [*(request for depth in depths for request in context.under(depth)), *context.second_seeds()]


def find(context: CheckContext) -> Finding:
    """Judge maps made with randomised blocks, which should no longer show the classes or outputs.

    Passed when, with head and last block randomised, HOG finds the maps no more similar than maps of different classes,
    and the intact network classifies them at chance.
    """
    if context.has_inner_units:
        note = (
            "Left out for units of inner layers, which need not depend on the last blocks: "
            "random-weights randomises all."
        )
        return Finding("cascade", {}, None, note)
    original = context.predict(context.chosen)
    figures = {"blocks": float(len(context.blocks)), **original.figures(0)}
    if not context.depths:
        return Finding("cascade", figures, None, "The network has no weights that could be randomised.")
    if not context.same_samples:
        figures |= context.similarity(context.take(context.under())).figures(0)
    depth = min(VERDICT_DEPTH, len(context.blocks))
    results = {}
    for each in context.depths:
        maps = context.take(context.under(each))
        results[each] = (context.similarity(maps), context.predict(maps))
        figures |= results[each][0].figures(each) | results[each][1].figures(each)
    similarity, predictions = results[depth]
    maps_recognised = original.beyond_chance or None  # else the network recognises nothing here anyway
    passed = all_of(similarity.as_different_classes, predictions.at_chance, maps_recognised)
    scale = "HOG, 1 is the same image"
    if similarity.limit is not None and context.across is not None:
        figures["hog_limit"] = similarity.limit
        between_classes = two_decimals(context.across.mean["hog"])
        scale += (
            f"; maps of different {context.words.several} {between_classes}, limit {two_decimals(similarity.limit)}"
        )
    figures |= context.reference()
    part = "the head" if depth == 1 else f"the head and the last block ({context.blocks[depth - 1]})"
    facts = (
        f"With {part} randomised, the new maps resemble the original ones by {two_decimals(similarity.mean['hog'])} "
        f"({scale}), and {context.words.recognised('the trained network', str(predictions))}, of the original ones "
        f"{original.hits}."
    )
    if_passed = "So the maps depend on what this network has learned."
    if_failed = "So the maps show something that does not depend on what this network has learned."
    beyond_chance = [original.beyond_chance, predictions.beyond_chance]
    return context.judge("cascade", figures, passed, facts, if_passed, if_failed, beyond_chance)
