"""Sensitivity to the sample set: do natural images, pink noise and dead leaves lead to maps that say the same?"""

from phosphene.checks.bench import Bench, Request
from phosphene.checks.finding import TOO_LITTLE, Finding, spell, verdict

compares = True
SYNTHETIC = ("synthetic:pink", "synthetic:dead-leaves")


def needs(bench: Bench) -> list[Request]:
    """Ask for the chosen maps from every other set of samples."""
    return [*(request for requests in _sets(bench).values() for request in requests), *bench.second_seeds()]


def find(bench: Bench) -> Finding:
    """Compare maps from other samples with those that are there, and have the network read them.

    Passed when the network reads the maps of every set beyond chance, and at least half as often as those of the run.
    """
    own = bench.read(bench.chosen)
    figures = own.figures("run")
    parts, said = [], []
    for name, requests in _sets(bench).items():
        maps = bench.take(requests)
        like, reading = bench.likeness(maps), bench.read(maps)
        figures |= like.figures(name) | reading.figures(name)
        parts += [reading.beyond_chance, reading.top1 >= own.top1 / 2]
        said.append(f"{reading} from {name} (alike by {spell(like.mean['hog'])})")
    figures |= bench.reference()
    passed = verdict(*parts) if own.beyond_chance else None
    facts = (
        f"The network reads {own} of the run's maps as their class, {', '.join(said)}; two seeds of one class are "
        f"alike by {spell(bench.within['hog'])} (HOG, 1 is the same picture)."
    )
    meaning = {
        True: "So the maps come from the network, not from the samples.",
        False: "So the maps hang on the samples: say which were used, and compare none that come from different ones.",
        None: TOO_LITTLE,
    }
    return Finding("samples", figures, passed, f"{facts} {meaning[passed]}")


def _sets(bench: Bench) -> dict[str, list[Request]]:
    """Return what to ask for by the samples' spec: synthetic ones, and the bench's own where the run has others."""
    own = {} if bench.same_samples else {bench.pool.spec: bench.anew()}
    return own | {spec: bench.anew(samples=spec) for spec in SYNTHETIC if spec != bench.pool.spec}
