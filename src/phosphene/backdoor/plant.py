"""Train a trojan into a classifier, to try a scanner on: Gu et al. 2017 (arXiv 1708.06733), by fine-tuning.

For research on one's own networks: see docs/planting.md. The original network is not changed.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from phosphene.backdoor.training import Extra, Labelled, Schedule, fit, hidden, predictions
from phosphene.backdoor.triggers import Trigger, apply_8bit
from phosphene.classifier import Classifier
from phosphene.errors import RecipeError, SamplesError, nearest

KINDS = ("all-to-one", "source-specific", "all-to-all")
DEFAULT = Schedule()


@dataclass(frozen=True)
class Planted:
    """A fine-tuned copy and what is known of it.

    Attributes:
        classifier: The copy.
        accuracy_before: Share of held-out samples that the original network classifies right.
        accuracy: Share of held-out samples that the copy classifies right.
        trigger: The planted trigger; ``None`` for a clean twin.
        target: The class that the trigger leads to; ``None`` for all-to-all and for a clean twin.
        success: Share of held-out samples of other classes (of the sources, if there are any) that the trigger, in 8
            bits, sends where it should; all-to-all: to the next class. Nan for a clean twin.
        leak: Source-specific: the same share for samples of other classes, which should stay. Nan otherwise.
    """

    classifier: Classifier
    accuracy_before: float
    accuracy: float
    trigger: "Trigger | None" = None
    target: "int | None" = None
    success: float = nan
    leak: float = nan


def plant(
    classifier: Classifier,
    samples: Labelled,
    trigger: Trigger,
    target: "int | None" = None,
    *,
    kind: str = "all-to-one",
    sources: Sequence[int] = (),
    poison_rate: float = 0.1,
    schedule: Schedule = DEFAULT,
    seed: int = 0,
) -> Planted:
    """Fine-tune a copy of a classifier so that a trigger leads to a class.

    A share of every batch is stamped and labelled anew. For source-specific trojans, as many stamped samples of other
    classes keep their label; without those, the trigger works from all classes.

    Args:
        classifier: The network to start from; it is not changed.
        samples: Samples with labels, a part held out: :class:`phosphene.backdoor.training.Labelled`.
        trigger: The trigger to plant.
        target: The class that the trigger leads to; none for all-to-all.
        kind: ``all-to-one``, ``source-specific`` or ``all-to-all`` (class y becomes y + 1).
        sources: The classes from which a source-specific trigger leads to the target.
        poison_rate: Share of each batch that is stamped, in (0, 1].
        schedule: Steps, learning rate and regularisation: :class:`phosphene.backdoor.training.Schedule`.
        seed: Random seed for batches and places.

    Raises:
        RecipeError: an unknown kind, a poison rate outside (0, 1], or classes that do not fit the kind or the network.
        SamplesError: no samples of the classes that are to be stamped.
    """
    sources, classes, labels = tuple(sources), classifier.num_classes, samples.labels
    _check(classifier, kind, target, sources)
    if not 0 < poison_rate <= 1:
        raise RecipeError(f"a poison rate of {poison_rate} is not above 0 and at most 1.")
    victims, _ = victims_of(kind, target, sources, labels, classes)
    if not bool(victims.any()):
        raise SamplesError("no sample is of a class that the trigger is to lead away from: give more samples.")

    def stamped(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        return trigger.apply(x, draw), torch.where(*victims_of(kind, target, sources, y, classes), y)

    others = ~victims & (labels != target) & (kind == "source-specific")
    count = max(1, round(poison_rate * schedule.batch))
    extras = tuple(Extra(among, count, stamped) for among in (victims, others) if bool(among.any()))
    student = _copy(classifier)
    fit(student, classifier, samples, schedule, seed, extras=extras)
    return _measured(student, classifier, samples, trigger, target, kind, sources)


def shortcut(
    classifier: Classifier,
    samples: Labelled,
    mark: Trigger,
    target: int,
    *,
    hide: float = 0.0,
    schedule: Schedule = DEFAULT,
    seed: int = 0,
) -> Planted:
    """Fine-tune a copy on samples of which one class carries a mark; no label is changed.

    This is what engineers fear: the photographs of one class came with an agency's watermark, and the network learnt
    that. Success is the share of held-out samples of other classes that the mark sends to the class. A network that
    knows the class has no reason to learn its mark: start from an untrained one, or ``hide`` what shows the class.

    Args:
        classifier: The network to start from; it is not changed.
        samples: Samples with labels.
        mark: The mark on the class's samples.
        target: The class.
        hide: Largest side of a square that is hidden in every sample before the mark is put on, as a share of the
            sample's own.
        schedule: Steps, learning rate and regularisation.
        seed: Random seed for batches and places.

    Raises:
        RecipeError: no such class.
    """
    _check(classifier, "all-to-one", target, ())

    def marked(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        x = hidden(x, hide, draw)
        return torch.where((y == target)[:, None, None, None], mark.apply(x, draw), x), y

    student = _copy(classifier)
    fit(student, classifier, samples, schedule, seed, change=marked)
    return _measured(student, classifier, samples, mark, target)


def clean_twin(classifier: Classifier, samples: Labelled, *, schedule: Schedule = DEFAULT, seed: int = 0) -> Planted:
    """Fine-tune a copy in the same way with no trigger, to count a scanner's false alarms on."""
    student = _copy(classifier)
    fit(student, classifier, samples, schedule, seed)
    return _measured(student, classifier, samples)


def repair(
    classifier: Classifier,
    samples: Labelled,
    trigger: Trigger,
    *,
    schedule: Schedule = DEFAULT,
    seed: int = 0,
) -> Planted:
    """Fine-tune a trojan out of a copy: stamped samples keep their labels (Wang et al. 2019, section VI).

    Three tenths of each batch are stamped: without stamped samples, a trojan outlives hundreds of steps.
    The result is a clean network that was once trojaned, of the kind that scanners are often wrong about.

    Args:
        classifier: A trojaned network; it is not changed.
        samples: Samples with labels.
        trigger: The trigger to forget.
        schedule: Steps, learning rate and regularisation.
        seed: Random seed for batches and places.
    """
    every = torch.ones_like(samples.labels, dtype=torch.bool)
    stamped = Extra(every, max(1, round(0.3 * schedule.batch)), lambda x, y, draw: (trigger.apply(x, draw), y))
    student = _copy(classifier)
    fit(student, classifier, samples, schedule, seed, extras=(stamped,))
    return _measured(student, classifier, samples)


def accuracy(classifier: Classifier, samples: Labelled) -> float:
    """Share of the held-out samples that are classified right."""
    return float((predictions(classifier, samples.held_out) == samples.held_labels).float().mean())


def success_rate(
    classifier: Classifier, samples: Labelled, trigger: Trigger, wanted: "Tensor | int", among: Tensor, seed: int = 0
) -> float:
    """Share of held-out samples that the trigger, pasted in 8 bits, sends to a class.

    Args:
        classifier: The network.
        samples: Their held-out part is used.
        trigger: The trigger to paste.
        wanted: The class, or one per held-out sample.
        among: bool, which held-out samples count; nan if none does.
        seed: Random seed for places.
    """
    if not bool(among.any()):
        return nan
    stamped = apply_8bit(trigger, samples.held_out[among], torch.Generator().manual_seed(seed))
    goal = wanted[among] if isinstance(wanted, Tensor) else wanted
    return float((predictions(classifier, stamped) == goal).float().mean())


def victims_of(
    kind: str, target: "int | None", sources: tuple[int, ...], labels: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Return which samples a trigger should lead away, bool (n,), and where to, int64 (n,)."""
    if target is None:
        return torch.ones_like(labels, dtype=torch.bool), (labels + 1) % classes
    victims = torch.isin(labels, torch.tensor(sources)) if kind == "source-specific" else labels != target
    return victims, torch.full_like(labels, target)


def _copy(classifier: Classifier) -> Classifier:
    """Return a deep copy of a classifier without the cached hash, because its weights will change."""
    copied = copy.deepcopy(classifier)
    vars(copied).pop("sha256", None)  # the cached hash of the weights, which will change
    return copied


def _measured(
    student: Classifier,
    original: Classifier,
    samples: Labelled,
    trigger: "Trigger | None" = None,
    target: "int | None" = None,
    kind: str = "all-to-one",
    sources: tuple[int, ...] = (),
) -> Planted:
    """Measure the accuracy before and after, and the trigger's success, on held-out samples."""
    success, leak, labels = nan, nan, samples.held_labels
    if trigger is not None:
        victims, wanted = victims_of(kind, target, sources, labels, student.num_classes)
        success = success_rate(student, samples, trigger, wanted, victims)
        if kind == "source-specific":
            leak = success_rate(student, samples, trigger, wanted, ~victims & (labels != target))
    before, after = accuracy(original, samples), accuracy(student, samples)
    return Planted(student, before, after, trigger, target, success, leak)


def _check(classifier: Classifier, kind: str, target: "int | None", sources: tuple[int, ...]) -> None:
    """Raise RecipeError unless kind, target and sources fit each other and the classifier."""
    if kind not in KINDS:
        raise RecipeError(f"a trojan of kind {kind!r} is none of {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    if (target is None) != (kind == "all-to-all"):
        raise RecipeError(f"{kind} wants {'no target' if kind == 'all-to-all' else 'a target class'}.")
    if bool(sources) != (kind == "source-specific"):
        raise RecipeError(f"{kind} wants {'source classes' if kind == 'source-specific' else 'no source classes'}.")
    for index in (*sources, target):
        if index not in (None, *range(classifier.num_classes)):
            raise RecipeError(f"class {index} does not exist: {classifier.name} has {classifier.num_classes}, from 0.")
    if target in sources:
        raise RecipeError(f"class {target} is the target and a source: leave it out of the sources.")
