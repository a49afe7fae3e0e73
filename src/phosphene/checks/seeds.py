"""Stability: does another seed, that is other samples drawn and other views, give a map that says the same?"""

from phosphene.checks.bench import Bench, Request
from phosphene.checks.finding import TOO_LITTLE, Finding, spell, verdict

compares = True


def needs(bench: Bench) -> list[Request]:
    """Ask for a second seed where the run has one."""
    return bench.second_seeds()


def find(bench: Bench) -> Finding:
    """Compare maps of one class within and across classes, and have the network read the other seeds.

    Passed when the network reads the other seeds beyond chance, and at least half as often as the first.
    """
    first = bench.read(bench.chosen)
    other = bench.read([sibling for one in bench.chosen for sibling in bench.same_class(one)])
    figures = first.figures("first") | other.figures("other") | bench.reference()
    passed = verdict(other.beyond_chance, other.top1 >= first.top1 / 2) if first.beyond_chance else None
    facts = f"From other seeds, the network reads {other} maps as their class; from the first seeds {first}."
    if bench.across is not None:
        inside, outside = bench.within["hog"], bench.across.mean["hog"]
        alike = inside > bench.across.limit("hog", other.count)
        facts += (
            f" Two seeds of one class are alike by {spell(inside)} (HOG, 1 is the same picture), different classes by "
            f"{spell(outside)}: seeds {'put the same in the same places' if alike else 'put things in other places'}."
        )
    meaning = {
        True: "What the maps say does not hang on the seed.",
        False: "What the maps say hangs on the seed: make several and distrust each.",
        None: TOO_LITTLE,
    }
    return Finding("seeds", figures, passed, f"{facts} {meaning[passed]}")
