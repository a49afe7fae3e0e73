"""One network, looked at as a whole: its samples read, its classes screened where they are many, and measured."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.measure import FEW, STATISTICS, Measured, measure, passes
from phosphene.backdoor.null import FEWEST_CLASSES, Null, built_in, deviations
from phosphene.backdoor.screen import KEPT, LOOK, USUAL, screen
from phosphene.backdoor.screen import passes as screen_passes
from phosphene.backdoor.search import Effort, Samples, answers
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import CardError
from phosphene.metrics.range_doubt import is_natural
from phosphene.runs.scan_cache import Cache, Parts, no_cache
from phosphene.samples import SamplePool, load_samples

PICTURES, LEAST = 512, 128  # samples that patterns are made from; fewer of large pictures,
PIXELS = PICTURES * 32 * 32  # of which all together have no more than these
FEW_PICTURES = 8  # and their negatives
SAME = 1e-6  # logits that differ by less over very different pictures say nothing


@dataclass(frozen=True)
class Standing:
    """Where a scan stands: what it does, and how much of that is done."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class Setting:
    """How networks are looked at; the network in question and its references alike.

    Attributes:
        names: Statistics, of :data:`phosphene.backdoor.measure.STATISTICS`.
        effort: Of each search.
        seed: Of draws and starts.
        device: As :class:`phosphene.engine.Engine` takes it.
        precision: Likewise.
        watch: Called as it goes on.
        keep: What keeps parts of the work for a scan that is interrupted.
    """

    names: tuple[str, ...]
    effort: Effort
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    watch: "Callable[[Standing], None] | None" = None
    keep: Cache = no_cache

    def tell(self, name: str, step: int, steps: int) -> None:
        """Say which statistic is being measured, and how far that is."""
        if self.watch is not None:
            self.watch(Standing(STATISTICS[name][0] if name in STATISTICS else name, step, steps))


@dataclass(frozen=True)
class Survey:
    """What was measured of a network.

    Attributes:
        found: By statistic.
        classes: int64 (m,): the classes that were measured; all, or those that a cheap look left and some others.
        tested: Bool (m,): which of them may be called; all of them set the middle and the spread.
        passes: Images sent through the network, a backward counted as one more.
    """

    found: dict[str, Measured]
    classes: Tensor
    tested: Tensor
    passes: int

    def away(self, middle: "dict[str, float] | None" = None) -> dict[str, Tensor]:
        """Return the deviations (m,) by statistic; a class that no pattern reaches does not deviate.

        Args:
            middle: Logarithm of the usual size, by statistic, where the classes are too few to tell it.
        """
        usual = middle or {name: float(one.size.log().median()) for name, one in self.found.items()}
        return {
            name: torch.where(one.reached, deviations(one.size, usual[name]), 0.0) for name, one in self.found.items()
        }


def survey(engine: Engine, samples: Samples, setting: Setting) -> Survey:
    """Measure all classes; of many, those that a cheap look leaves, and others that show what is usual.

    Raises:
        NumericError: the network answers with NaN or infinity.
    """
    count, seed, tell, keep = engine.classifier.num_classes, setting.seed, setting.tell, setting.keep
    classes = torch.arange(count)
    if count > FEW:
        classes = keep("screen", lambda: {"classes": screen(engine, samples, seed=seed, watch=tell)})["classes"]
        tell(f"{LOOK} {count} classes", 1, 1)  # also of what was there already
    found = measure(
        engine, samples, classes.to(engine.device), setting.names, setting.effort, seed=seed, watch=tell, keep=keep
    )
    tested = torch.arange(len(classes)) < (KEPT if count > FEW else count)
    return Survey(found, classes, tested, survey_passes(count, setting.names, setting.effort))


def survey_passes(classes: int, names: Sequence[str], effort: Effort) -> int:
    """Images that surveying a network of so many classes sends through it, a backward counted as one more."""
    looks = screen_passes() if classes > FEW else 0
    return looks + searched(classes) * passes(names, effort)


def stage_passes(doing: str, classes: int, effort: Effort) -> int:
    """Images that one stage of surveying so many classes sends through the network, by what :class:`Standing` says."""
    stage = doing.rpartition(": ")[2]  # after the name of a reference
    if stage.startswith(LOOK):
        return screen_passes()
    names = [name for name, (title, _) in STATISTICS.items() if title == stage]
    return searched(classes) * passes(names, effort)


def searched(classes: int) -> int:
    """Of so many classes, how many are searched for patterns: all where they are few."""
    return classes if classes <= FEW else KEPT + USUAL


def read_samples(engine: Engine, pool: SamplePool) -> tuple[Samples, Samples]:
    """Have the network read the samples: those that patterns are made from, and those that they are tried on.

    Raises:
        CardError: it says the same of every picture.
        NumericError: it answers with NaN or infinity.
    """
    shape = engine.classifier.input.shape
    count = max(LEAST, min(PICTURES, PIXELS // (shape[1] * shape[2])))
    see_that_it_answers(engine, pool)
    return Samples.of(engine, pool.pixels[:count]), Samples.of(engine, pool.held_out)


def see_that_it_answers(engine: Engine, pool: SamplePool) -> None:
    """Send a few pictures and their negatives through a network: one that cannot be scanned is known by them.

    Raises:
        CardError: it says the same of every picture.
        NumericError: it answers with NaN or infinity.
    """
    few, name = pool.pixels[:FEW_PICTURES], engine.classifier.name
    if float(answers(engine, torch.cat([few, 255 - few])).std(0).max()) < SAME:
        raise CardError(f"network {name} says the same of every picture: there is nothing in it to scan.")


def null_for(
    seen: Survey, classifier: Classifier, reference: Sequence[Classifier], pool: SamplePool, setting: Setting
) -> tuple[Null, dict[str, Tensor], dict[str, float]]:
    """Return what is usual, how far the classes of the network in question are from it, and its spreads.

    What is usual is set by the reference networks; without any, by the clean networks that come with the package.

    Args:
        seen: What was measured of the network in question.
        classifier: The network.
        reference: Clean networks; they are measured in the same way.
        pool: The samples; for references of another size they are loaded again.
        setting: How to measure.

    Raises:
        CardError: the references can set no null model.
    """
    if not reference:
        kind = "natural" if is_natural(classifier, pool.spec) else "synthetic"
        away, known = seen.away(), built_in(kind)
        if classifier.num_classes > FEW:
            known = known.but(built_in(f"many-{kind}"))
        return known, away, {name: known.unit(name, values) for name, values in away.items()}
    for one in reference:
        if (one.num_classes > FEW) != (classifier.num_classes > FEW):
            sizes = f"{one.num_classes:,} classes, and the network in question {classifier.num_classes:,}"
            raise CardError(f"reference {one.name} has {sizes}: both need at most {FEW}, or both more.")
    surveys = [_survey_reference(one, pool, setting) for one in reference]
    # What says nothing in a reference sets no null model: its deviations are all 0.
    names = [name for name in setting.names if not any(one.found[name].saturated for one in surveys)]
    if not names:
        raise CardError("no family of patterns reaches half of the classes of every reference: give other references.")
    middle: dict[str, float] | None = None
    if len(seen.classes) < FEWEST_CLASSES:
        middle = {name: float(torch.cat([one.found[name].size for one in surveys]).log().median()) for name in names}

    def kept(one: Survey) -> dict[str, Tensor]:
        return {name: values for name, values in one.away(middle).items() if name in names}

    null, own = Null.fit([kept(one) for one in surveys], [one.tested for one in surveys]), kept(seen)
    return null, own, {name: null.unit(name, values) for name, values in own.items()}


def _survey_reference(classifier: Classifier, pool: SamplePool, setting: Setting) -> Survey:
    def tell(standing: Standing) -> None:
        if setting.watch is not None:
            setting.watch(dataclasses.replace(standing, doing=f"reference {classifier.name}: {standing.doing}"))

    def keep(name: str, work: Callable[[], Parts]) -> Parts:
        return setting.keep(f"{classifier.sha256} {name}", work)

    if tuple(pool.pixels.shape[1:]) != classifier.input.shape:
        pool = load_samples(pool.spec, classifier.input.shape)
    with Engine(classifier, device=setting.device, precision=setting.precision) as engine:
        samples, _ = read_samples(engine, pool)
        return survey(engine, samples, dataclasses.replace(setting, watch=tell, keep=keep))
