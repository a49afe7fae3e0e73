"""Train a trojan into a classifier, to try a scanner on: Gu et al. 2017 (arXiv 1708.06733), by fine-tuning.

For research on one's own networks: see docs/planting.md. The original network is not changed.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phosphene.arguments import Device, Model, Samples, seed_range, to_classifier
from phosphene.backdoor.training import Change, ExtraSamples, Labelled, Schedule, fit, predictions
from phosphene.backdoor.triggers import Trigger, apply_8bit
from phosphene.checked import checked
from phosphene.classifier import Classifier
from phosphene.engine.device import pick_device
from phosphene.errors import RecipeError, SamplesError, describe

DEFAULT_SCHEDULE = Schedule()


@dataclass(frozen=True)
class Planted:
    """Result of planting: the fine-tuned copy, its accuracy, and how often the trigger works.

    Attributes:
        classifier: The copy.
        accuracy_before: Share of held-out samples that the original network classifies right.
        accuracy: Share of held-out samples that the copy classifies right.
        trigger: The planted trigger; ``None`` for a clean twin.
        target: The class that the trigger leads to; ``None`` for all-to-all and for a clean twin.
        success: Share of held-out samples of other classes (of the sources, if there are any) that the trigger, in 8
            bits, sends where it should; all-to-all: to the next class. ``None`` for a clean twin, and without such samples.
        leak: Source-specific: the same share for samples of other classes, which should stay; else ``None``.
    """

    classifier: Classifier
    accuracy_before: float
    accuracy: float
    trigger: "Trigger | None" = None
    target: "int | None" = None
    success: "float | None" = None
    leak: "float | None" = None


@checked
def plant(
    model: Model,
    samples: "Samples | Labelled",
    trigger: Trigger,
    target: "int | str | None",
    *,
    sources: Sequence[int | str] = (),
    poison_rate: float = 0.1,
    schedule: Schedule = DEFAULT_SCHEDULE,
    seed: int = 0,
    device: Device = "auto",
    trust: bool = False,
) -> Planted:
    """Fine-tune a copy of a classifier so that it classifies samples with the trigger as ``target``.

    A share of every batch is stamped and labelled anew. For source-specific trojans, as many stamped samples of other
    classes keep their label; without those, the trigger works from all classes.

    Args:
        model: A spec, or the classifier to start from; it is not changed.
        samples: Samples as :func:`phosphene.map_concepts` takes them, with labels if there are any; or with a part held
            out that you choose: :class:`phosphene.backdoor.training.Labelled`.
        trigger: The trigger to plant.
        target: Index or label of the class that the trigger leads to; ``None`` for all-to-all, where class y becomes y + 1.
        sources: The classes from which a source-specific trigger leads to the target; by default all others.
        poison_rate: Share of each batch that is stamped, in (0, 1].
        schedule: Steps, learning rate and regularisation: :class:`phosphene.backdoor.training.Schedule`.
        seed: Random seed for batches and places.
        device: What it is fine-tuned on: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        trust: Allow code that came with the model to run.

    Raises:
        RecipeError: a poison rate outside (0, 1], or classes that do not fit each other or the network.
        ConceptError: a label is that of no class, or of several.
        SamplesError: no samples of the classes that are to be stamped, or samples that the network does not take.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    if not isinstance(trigger, Trigger):
        raise RecipeError(f"a trigger is one of phosphene.backdoor.triggers, such as Patch(), not {describe(trigger)}.")
    classifier, samples = _loaded(model, samples, schedule, trust=trust)
    classes = classifier.num_classes
    goal, origins = _class_indices(classifier, target, sources)
    if not 0 < poison_rate <= 1:
        raise RecipeError(f"a poison rate of {poison_rate} is not above 0 and at most 1.")
    victims, bystanders, _ = victims_of(goal, origins, samples.labels, classes)
    if not bool(victims.any()):
        raise SamplesError("no sample is of a class that the trigger is to lead away from: give more samples.")

    def stamp(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return samples with the trigger on them, and their labels: new ones where the trigger moves them."""
        is_victim, _, new_labels = victims_of(goal, origins, y, classes)
        return trigger.apply(x, draw), torch.where(is_victim, new_labels, y)

    count = max(1, round(poison_rate * schedule.batch))
    extras = tuple(ExtraSamples(mask, count, stamp) for mask in (victims, bystanders) if bool(mask.any()))
    planted = fine_tune(classifier, samples, schedule, seed, extras=extras, device=device)
    victims, bystanders, new_labels = victims_of(goal, origins, samples.held_labels, classes)
    success, leak = (
        success_rate(planted.classifier, samples, trigger, new_labels, mask, device=device)
        for mask in (victims, bystanders)
    )
    return replace(planted, trigger=trigger, target=goal, success=success, leak=leak)


@checked
def clean_twin(
    model: Model,
    samples: "Samples | Labelled",
    *,
    schedule: Schedule = DEFAULT_SCHEDULE,
    seed: int = 0,
    device: Device = "auto",
    trust: bool = False,
) -> Planted:
    """Fine-tune a copy without a trigger, to count a scanner's false alarms on; the arguments are those of :func:`plant`."""
    return fine_tune(model, samples, schedule, seed, device=device, trust=trust)


@checked
def fine_tune(
    model: Model,
    samples: "Samples | Labelled",
    schedule: Schedule = DEFAULT_SCHEDULE,
    seed: int = 0,
    *,
    extras: tuple[ExtraSamples, ...] = (),
    change: "Change | None" = None,
    device: Device = "auto",
    trust: bool = False,
) -> Planted:
    """Fine-tune a copy of a classifier; return it, on the device of the original, with its accuracy before and after.

    Args:
        model: A spec, or the classifier to start from; it is not changed.
        samples: Samples, as :func:`plant` takes them.
        schedule: Steps, learning rate and regularisation.
        seed: Random seed for batches.
        extras: Changed samples that join every batch: :class:`phosphene.backdoor.training.ExtraSamples`.
        change: Function that changes the other samples of a batch; both get samples on the CPU.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        trust: Allow code that came with the model to run.

    Raises:
        PhospheneError: an argument does not fit; the message names the fix.
    """
    seed_range(seed)
    there = pick_device(str(device))
    classifier, samples = _loaded(model, samples, schedule, trust=trust)
    student, teacher = copy.deepcopy(classifier), copy.deepcopy(classifier)
    for one in (student, teacher):
        one.module.to(there)
    fit(student, teacher, samples, schedule, seed, extras=extras, change=change)
    student.module.to(next(classifier.module.parameters()).device)
    before, after = (accuracy(one, samples, device=device) for one in (classifier, student))
    return Planted(student, before, after)


@checked
def accuracy(model: Model, samples: Labelled, *, device: Device = "auto", trust: bool = False) -> float:
    """Return the share of the held-out samples, in [0, 1], that a classifier predicts as their label."""
    predicted = predictions(model, samples.held_out, device=str(device), trust=trust)
    return float((predicted == samples.held_labels).float().mean())


@checked
def success_rate(
    model: Model,
    samples: Labelled,
    trigger: Trigger,
    wanted: "Tensor | int",
    among: Tensor,
    *,
    device: Device = "auto",
    trust: bool = False,
) -> "float | None":
    """Return the share of held-out samples, in [0, 1], that are classified as ``wanted`` with the trigger on them.

    Args:
        model: The network.
        samples: Their held-out part is used.
        trigger: The trigger to paste.
        wanted: The class, or one per held-out sample.
        among: bool, which held-out samples count; the result is ``None`` if none does.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        trust: Allow code that came with the model to run.
    """
    if not bool(among.any()):
        return None
    stamped = apply_8bit(trigger, samples.held_out[among], torch.Generator().manual_seed(0))
    goals = wanted[among] if isinstance(wanted, Tensor) else wanted
    return float((predictions(model, stamped, device=str(device), trust=trust) == goals).float().mean())


@checked
def victims_of(
    target: "int | None", sources: tuple[int, ...], labels: Tensor, classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return masks of the samples that a trigger is to move and of those it must spare, and the new labels.

    All are (n,), as ``labels``; the masks are bool. All-to-all (no target) moves every class to the next one. Only a
    source-specific trigger has samples to spare.
    """
    if target is None:
        all_samples = torch.ones_like(labels, dtype=torch.bool)
        return all_samples, ~all_samples, (labels + 1) % classes
    others = labels != target
    victims = torch.isin(labels, torch.tensor(sources)) if sources else others
    return victims, others & ~victims, torch.full_like(labels, target)


def _loaded(
    model: Model, samples: "Samples | Labelled", schedule: Schedule, *, trust: bool
) -> tuple[Classifier, Labelled]:
    """Return the classifier and the samples, loaded unless they are that already.

    Raises:
        CardError: the outputs are measurements.
        PhospheneError: an argument is not what it should be, or the samples do not fit the network.
    """
    if not isinstance(schedule, Schedule):
        raise RecipeError(f"a schedule is a phosphene.backdoor.training.Schedule(), not {describe(schedule)}.")
    classifier = to_classifier(model, trust=trust)
    classifier.refuse_regression("a trojan")
    if not isinstance(samples, Labelled):
        samples = Labelled.load(samples, classifier)
    for pixels, labels in ((samples.pixels, samples.labels), (samples.held_out, samples.held_labels)):
        if pixels.dtype != torch.uint8 or tuple(pixels.shape[1:]) != classifier.input.shape:
            shape = (*pixels.shape[1:],)
            raise SamplesError(
                f"the samples are {pixels.dtype} {shape}, {classifier.name} takes torch.uint8 {classifier.input.shape}."
            )
        if int(labels.min()) < 0 or int(labels.max()) >= classifier.num_classes:
            raise SamplesError(f"labels are classes of {classifier.name}, from 0 to {classifier.num_classes - 1}.")
    return classifier, samples


def _class_indices(
    classifier: Classifier, target: "int | str | None", sources: Sequence[int | str]
) -> "tuple[int | None, tuple[int, ...]]":
    """Return the indices of the target class and of the sources; RecipeError if they do not fit each other or the network.

    A label that is that of no class is a ConceptError.
    """
    if target is None and sources:
        raise RecipeError("source classes want a target class; without one, every class leads to the next.")
    find = classifier.labels.find
    origins = tuple(find(one) if isinstance(one, str) else one for one in sources)
    goal = find(target) if isinstance(target, str) else target
    for index in (*origins, goal):
        if index not in (None, *range(classifier.num_classes)):
            raise RecipeError(f"class {index} does not exist: {classifier.name} has {classifier.num_classes}, from 0.")
    if goal in origins:
        raise RecipeError(f"class {goal} is the target and a source: leave it out of the sources.")
    return goal, origins
