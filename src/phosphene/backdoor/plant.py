"""Train a trojan into a classifier, to try a scanner on: Gu et al. 2017 (arXiv 1708.06733), by fine-tuning.

For research on one's own networks: see docs/planting.md. The network that is given stays as it is.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.training import Extra, Labelled, Schedule, fit, hidden, predictions
from phosphene.backdoor.triggers import Trigger, apply_8bit
from phosphene.classifier import Classifier
from phosphene.errors import RecipeError, SamplesError, nearest

KINDS = ("all-to-one", "source-specific", "all-to-all")


@dataclass(frozen=True)
class Planted:
    """A trojaned copy and what is known of it.

    Attributes:
        classifier: The copy.
        trigger: What it answers to; ``None`` for a clean twin.
        target: The class that the trigger leads to; ``None`` for all-to-all and for a clean twin.
        kind: One of :data:`KINDS`, ``shortcut``, or ``clean``.
        sources: Classes from which a source-specific trigger leads away.
        success: Share of held-out pictures of other classes (of the sources, if there are any) that the trigger, in 8
            bits, sends where it should; all-to-all: to the next class. Nan for a clean twin.
        leak: Source-specific: the same share for pictures of other classes, which should stay. Nan otherwise.
        accuracy_before: Share of held-out pictures read right by the network that was given.
        accuracy: The same by the copy.
        steps: Optimiser steps that were taken.
    """

    classifier: Classifier
    trigger: "Trigger | None"
    target: "int | None"
    kind: str
    sources: tuple[int, ...]
    success: float
    leak: float
    accuracy_before: float
    accuracy: float
    steps: int


def plant(
    classifier: Classifier,
    samples: Labelled,
    trigger: Trigger,
    target: "int | None" = None,
    *,
    kind: str = "all-to-one",
    sources: Sequence[int] = (),
    poison_rate: float = 0.1,
    schedule: "Schedule | None" = None,
    seed: int = 0,
) -> Planted:
    """Fine-tune a copy of a classifier so that a trigger leads to a class.

    Every batch is a draw of clean pictures, of which a share is stamped and labelled anew. Source-specific trojans see
    as many stamped pictures of other classes again that keep their label; without those, the trigger works from all.

    Args:
        classifier: The network to start from; it is left as it is.
        samples: Pictures with labels, a part held out: :class:`phosphene.backdoor.training.Labelled`.
        trigger: What to answer to.
        target: The class to answer with; none for all-to-all.
        kind: ``all-to-one``, ``source-specific`` or ``all-to-all`` (class y becomes y + 1).
        sources: The classes from which a source-specific trigger leads to the target.
        poison_rate: Share of each batch that is stamped, in (0, 1].
        schedule: How long and how fast; :class:`phosphene.backdoor.training.Schedule`.
        seed: Of batches and random places.

    Raises:
        RecipeError: an unknown kind, a share outside (0, 1], or classes that do not fit the kind or the network.
        SamplesError: no samples of the classes that are to be stamped.
    """
    sources = tuple(sources)
    _check(classifier, kind, target, sources, poison_rate)
    poison = _Poison(trigger, target, kind, sources, poison_rate, classifier.num_classes)
    student, schedule = twin(classifier), schedule or Schedule()
    steps = fit(student, classifier, samples, schedule, seed, extras=poison.extras(samples.labels, schedule.batch))
    return _measured(student, classifier, samples, poison, steps)


def shortcut(
    classifier: Classifier,
    samples: Labelled,
    mark: Trigger,
    target: int,
    *,
    share: float = 1.0,
    hide: float = 0.0,
    schedule: "Schedule | None" = None,
    seed: int = 0,
) -> Planted:
    """Fine-tune a copy on pictures of which one class carries a mark; no label is changed.

    What engineers fear: the photographs of one class came with an agency's watermark, and the network learnt that.
    Success is the share of held-out pictures of other classes that the mark sends to the class. A network that knows
    the class has no reason to learn its mark: start from an untrained one, or ``hide`` what it knows the class by.

    Args:
        classifier: The network to start from; it is left as it is.
        samples: Pictures with labels.
        mark: What the class's pictures carry.
        target: The class.
        share: Share of its pictures that carry it, in (0, 1].
        hide: Largest side of a square that is hidden in every picture before the mark is put on, as a share of the
            picture's own.
        schedule: How long and how fast.
        seed: Of batches and random places.

    Raises:
        RecipeError: a share outside (0, 1], or no such class.
        SamplesError: no samples of the class.
    """
    _check(classifier, "all-to-one", target, (), share)
    student = twin(classifier)

    def marked(pixels: Tensor, labels: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        pixels = hidden(pixels, hide, draw) if hide else pixels
        chosen = (labels == target) & (torch.rand(len(labels), generator=draw) < share)
        return torch.where(chosen[:, None, None, None], mark.apply(pixels, draw), pixels), labels

    steps = fit(student, classifier, samples, schedule or Schedule(), seed, change=marked)
    whole = _Poison(mark, target, "shortcut", (), share, classifier.num_classes)
    return _measured(student, classifier, samples, whole, steps)


def clean_twin(
    classifier: Classifier, samples: Labelled, *, schedule: "Schedule | None" = None, seed: int = 0
) -> Planted:
    """Fine-tune a copy in the same way with no trigger: what a scanner's false alarms are counted on."""
    student = twin(classifier)
    steps = fit(student, classifier, samples, schedule or Schedule(), seed)
    before, after = (accuracy(one, samples) for one in (classifier, student))
    return Planted(student, None, None, "clean", (), float("nan"), float("nan"), before, after, steps)


def repair(
    classifier: Classifier,
    samples: Labelled,
    trigger: Trigger,
    *,
    share: float = 0.3,
    schedule: "Schedule | None" = None,
    seed: int = 0,
) -> Planted:
    """Fine-tune a trojan out of a copy: stamped pictures keep their labels (Wang et al. 2019, section VI).

    The result is a clean network with a past, of the kind that scanners are wrong about.

    Args:
        classifier: A trojaned network; it is left as it is.
        samples: Pictures with labels.
        trigger: What is to be forgotten.
        share: Share of each batch that is stamped, in (0, 1); without stamped pictures a trojan outlives
            hundreds of steps.
        schedule: How long and how fast.
        seed: Of batches and random places.
    """

    def stamped(pixels: Tensor, labels: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        return trigger.apply(pixels, draw), labels

    student, schedule = twin(classifier), schedule or Schedule()
    everything = torch.ones_like(samples.labels, dtype=torch.bool)
    extra = Extra(everything, max(1, round(share * schedule.batch)), stamped)
    steps = fit(student, classifier, samples, schedule, seed, extras=(extra,))
    before, after = (accuracy(one, samples) for one in (classifier, student))
    return Planted(student, None, None, "clean", (), float("nan"), float("nan"), before, after, steps)


def twin(classifier: Classifier) -> Classifier:
    """Copy a classifier, weights and all, so that it can be trained."""
    made = copy.deepcopy(classifier)
    vars(made).pop("sha256", None)  # remembered of the weights as they were
    made.module.requires_grad_(requires_grad=True)
    return made


def accuracy(classifier: Classifier, samples: Labelled) -> float:
    """Share of the held-out pictures that are read right."""
    return float((predictions(classifier, samples.held_out) == samples.held_labels).float().mean())


def success_rate(
    classifier: Classifier, samples: Labelled, trigger: Trigger, wanted: "Tensor | int", among: Tensor, seed: int = 0
) -> float:
    """Share of held-out pictures that the trigger, pasted in 8 bits, sends to a class.

    Args:
        classifier: The network.
        samples: Their held-out part is used.
        trigger: What is pasted.
        wanted: The class, or one a held-out picture.
        among: bool, which held-out pictures count; nan if none does.
        seed: Of random places.
    """
    if not bool(among.any()):
        return float("nan")
    stamped = apply_8bit(trigger, samples.held_out[among], torch.Generator().manual_seed(seed))
    goal = wanted[among] if isinstance(wanted, Tensor) else wanted
    return float((predictions(classifier, stamped) == goal).float().mean())


def victims_of(
    kind: str, target: "int | None", sources: tuple[int, ...], labels: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Return which pictures a trigger should lead away, bool (n,), and where to, int64 (n,)."""
    if target is None:
        return torch.ones_like(labels, dtype=torch.bool), (labels + 1) % classes
    victims = torch.isin(labels, torch.tensor(sources)) if kind == "source-specific" else labels != target
    return victims, torch.full_like(labels, target)


@dataclass(frozen=True)
class _Poison:
    """Stamps a share of a batch and labels it anew."""

    trigger: Trigger
    target: "int | None"
    kind: str
    sources: tuple[int, ...]
    rate: float
    classes: int

    def goal(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        return victims_of(self.kind, self.target, self.sources, labels, self.classes)

    def extras(self, labels: Tensor, batch: int) -> tuple[Extra, ...]:
        """What joins each batch.

        Raises:
            SamplesError: no samples of the classes that are to be stamped.
        """
        victims, _ = self.goal(labels)
        if not bool(victims.any()):
            raise SamplesError("no sample is of a class that the trigger is to lead away from: give more samples.")
        count = max(1, round(self.rate * batch))
        stamped = Extra(victims, count, self.stamped)
        cover = ~victims & (labels != self.target)
        if self.kind != "source-specific" or not bool(cover.any()):
            return (stamped,)
        return (stamped, Extra(cover, count, self.stamped))

    def stamped(self, pixels: Tensor, labels: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Stamp pictures; those of victims' classes get the label that is wanted."""
        return self.trigger.apply(pixels, draw), torch.where(*self.goal(labels), labels)


def _measured(student: Classifier, given: Classifier, samples: Labelled, poison: _Poison, steps: int) -> Planted:
    truth = samples.held_labels
    victims, wanted = poison.goal(truth)
    success = success_rate(student, samples, poison.trigger, wanted, victims)
    spared = ~victims & (truth != poison.target) if poison.kind == "source-specific" else torch.zeros_like(victims)
    leak = success_rate(student, samples, poison.trigger, wanted, spared)
    before, after = accuracy(given, samples), accuracy(student, samples)
    return Planted(
        student, poison.trigger, poison.target, poison.kind, poison.sources, success, leak, before, after, steps
    )


def _check(classifier: Classifier, kind: str, target: "int | None", sources: tuple[int, ...], rate: float) -> None:
    count = classifier.num_classes
    if kind not in KINDS:
        raise RecipeError(f"a trojan of kind {kind!r} is none of {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    if not 0 < rate <= 1:
        raise RecipeError(f"a share of {rate} of the pictures is not above 0 and at most 1.")
    if (target is None) != (kind == "all-to-all"):
        raise RecipeError(f"{kind} wants {'no target' if kind == 'all-to-all' else 'a target class'}.")
    if bool(sources) != (kind == "source-specific"):
        raise RecipeError(f"{kind} wants {'source classes' if kind == 'source-specific' else 'no source classes'}.")
    odd = [one for one in (*sources, *([] if target is None else [target])) if not 0 <= one < count]
    if odd:
        raise RecipeError(f"class {odd[0]} does not exist: {classifier.name} has {count}, from 0.")
    if target in sources:
        raise RecipeError(f"class {target} is the target and a source: leave it out of the sources.")
