"""Cascading randomisation (Adebayo et al. 2018, arXiv 1810.03292): do the maps go with what the network has learned?

The network's blocks are drawn anew from the last to the first, and the maps are made again, with the same recipe, seed
and samples.
"""

from phosphene.checks.bench import Bench, Request
from phosphene.checks.finding import TOO_LITTLE, Finding, spell, verdict

compares = True
# After the head and the last block the network knows nothing of classes: there the verdict is given.
JUDGED = 2


def needs(bench: Bench) -> list[Request]:
    """Ask for the chosen maps at every depth; from the intact network too where the samples are others."""
    depths = bench.depths if bench.same_samples else [0, *bench.depths]
    return [*(request for depth in depths for request in bench.anew(depth)), *bench.second_seeds()]


def find(bench: Bench) -> Finding:
    """Compare the maps at every depth with those of the network as it is, and have that network read them.

    Passed when, with head and last block new, HOG finds the maps no more alike than maps of different classes, and the
    network as it is reads them at chance.
    """
    original = bench.read(bench.chosen)
    figures = {"blocks": float(len(bench.blocks)), **original.figures(0)}
    if not bench.depths:
        return Finding("cascade", figures, None, "The network has no weights that could be drawn anew.")
    if not bench.same_samples:
        figures |= bench.likeness(bench.take(bench.anew())).figures(0)
    judged = min(JUDGED, len(bench.blocks))
    for depth in bench.depths:
        new = bench.take(bench.anew(depth))
        like, reading = bench.likeness(new), bench.read(new)
        figures |= like.figures(depth) | reading.figures(depth)
        if depth == judged:
            at = like, reading
    like, reading = at
    known = True if original.beyond_chance else None  # else the network reads nothing here anyway
    passed = verdict(like.as_different_classes, reading.at_chance, known)
    if like.limit is not None:
        figures["hog_limit"] = like.limit
    figures |= bench.reference()
    return Finding("cascade", figures, passed, _words(bench, figures, judged, passed))


def _words(bench: Bench, figures: dict[str, float], judged: int, passed: "bool | None") -> str:
    count = len(bench.chosen)
    hits, before = (round(figures[f"top1_at_{depth}"] * count) for depth in (judged, 0))
    what = "the head" if judged == 1 else f"the head and the last block ({bench.blocks[judged - 1]})"
    hog, scale = spell(figures[f"hog_at_{judged}"]), "HOG, 1 is the same picture"
    if "hog_limit" in figures:
        other, limit = spell(figures["hog_at_other_class"]), spell(figures["hog_limit"])
        scale += f"; maps of different classes {other}, limit {limit}"
    facts = (
        f"With {what} drawn anew, the maps made again resemble the original ones by {hog} ({scale}), and the trained "
        f"network reads {hits} of {count} as their class, of the original ones {before}."
    )
    meaning = {
        True: "So the maps show what this network has learned.",
        False: "So the maps show something that does not depend on what this network has learned.",
        None: TOO_LITTLE,
    }
    return f"{facts} {meaning[passed]}"
