"""A random-weights control: what maps look like of a network that has learned nothing."""

from phosphene.checks.bench import Bench, Request
from phosphene.checks.finding import TOO_LITTLE, Finding, verdict

compares = True


def needs(bench: Bench) -> list[Request]:
    """Ask for the chosen maps of the network with all weights drawn anew: the last depth of the cascade."""
    return [*(bench.anew(bench.depths[-1]) if bench.depths else []), *bench.second_seeds()]


def find(bench: Bench) -> Finding:
    """Have the random network read its own maps, and the trained one too.

    Passed when the trained network reads them at chance, and HOG finds them no more like its own than maps of different
    classes are to each other.
    """
    if not bench.depths:
        return Finding("random-weights", {}, None, "The network has no weights that could be drawn anew.")
    maps = bench.take(bench.anew(bench.depths[-1]))
    like = bench.likeness(maps)
    own, trained = bench.read(maps, bench.depths[-1]), bench.read(maps)
    figures = like.figures("random") | own.figures("random") | trained.figures("trained") | bench.reference()
    known = True if bench.read(bench.chosen).beyond_chance else None  # else it reads nothing here anyway
    passed = verdict(like.as_different_classes, trained.at_chance, known)
    facts = (
        f"A network of this shape that has learned nothing gives maps too, and reads {own} of them as their class "
        f"(p {own.p_class:.2f}). The trained network reads {trained} of them (p {trained.p_class:.2f})."
    )
    meaning = {
        True: "So what the trained network reads in its own maps comes from training.",
        False: "So the maps owe something to the method or the architecture, not to training.",
        None: TOO_LITTLE,
    }
    return Finding("random-weights", figures, passed, f"{facts} {meaning[passed]}")
