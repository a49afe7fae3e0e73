"""Fine-tuning for `plant`: labelled samples, a schedule, and one training loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from phosphene.arguments import Model, Samples, to_classifier, to_pool
from phosphene.checked import checked
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.memory import keep_freed_memory
from phosphene.errors import NumericError, RecipeError, SamplesError
from phosphene.formats import count
from phosphene.samples.labelled import load_labelled

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "adam": partial(torch.optim.AdamW, weight_decay=5e-4),
}

LEAST_SAMPLES = 5  # of which one is held out

Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""From samples (n, c, h, w) in [0, 1], labels (n,) and a generator to what is trained on instead."""


@checked
@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples with class labels to fine-tune on, and others with labels that are held out.

    Attributes:
        pixels: uint8 (n, c, h, w).
        labels: int64 (n,).
        held_out: uint8 (m, c, h, w).
        held_labels: int64 (m,).

    Raises:
        SamplesError: samples and labels differ in number, or there are none.
    """

    pixels: Tensor
    labels: Tensor
    held_out: Tensor
    held_labels: Tensor

    def __post_init__(self) -> None:
        for pixels, labels in ((self.pixels, self.labels), (self.held_out, self.held_labels)):
            _require_as_many(pixels, labels)
            if labels.is_floating_point() or labels.is_complex():
                raise SamplesError(f"labels are {labels.dtype}; they are whole numbers, the indices of classes.")
        vars(self).update(labels=self.labels.long(), held_labels=self.held_labels.long())

    def __repr__(self) -> str:
        c, h, w = self.pixels.shape[1:]
        return f"Labelled({count(len(self.labels), 'sample')}, {len(self.held_labels)} held out, {c} x {h} x {w})"

    @classmethod
    @checked
    def split(cls, pixels: Tensor, labels: Tensor, held: "int | None" = None) -> "Labelled":
        """Shuffle samples and labels, always alike, and hold out the last ``held`` (by default a fifth).

        Raises:
            SamplesError: samples and labels differ in number, or none would be held out, or all.
        """
        _require_as_many(pixels, labels)
        samples = count(total := len(pixels), "sample")
        if held is None and total < LEAST_SAMPLES:
            raise SamplesError(f"{samples} would leave none to hold out: give at least {LEAST_SAMPLES}.")
        held = total // LEAST_SAMPLES if held is None else held
        if not 0 < held < total:
            raise SamplesError(f"held is {held}, of {samples}: hold out at least 1, and not all.")
        train, rest = torch.randperm(total, generator=torch.Generator().manual_seed(0)).tensor_split([total - held])
        return cls(pixels[train], labels[train], pixels[rest], labels[rest])

    @classmethod
    @checked
    def load(
        cls, samples: Samples, model: Model, *, most: int = 5000, held: "int | None" = None, trust: bool = False
    ) -> "Labelled":
        """Load samples, given as :func:`phosphene.map_concepts` takes them, as a Labelled, a part held out.

        If over half have no label, all labels are the classifier's predictions. Labels come from names of files or
        folders, from the file's own, or from a data set in memory: see :func:`phosphene.samples.labelled.load_labelled`.
        Samples without one are left out. ``most`` counts both parts together; it does not limit predicted ones. ``held``
        are held out, by default a fifth. ``trust`` allows code that came with the model to run.

        Raises:
            SamplesError: as :func:`phosphene.samples.load_samples` does, or there are too few, or none are given.
        """
        if samples is None:  # elsewhere that means drawn ones, of which none has a class
            raise SamplesError("a network is trained on samples of its own kind: give them.")
        classifier = to_classifier(model, trust=trust)
        given = str(samples) if isinstance(samples, str | Path) else to_pool(samples, classifier)
        pixels, classes = load_labelled(given, classifier.input.shape, classifier.labels, most)
        if classes is None:
            pool = to_pool(given, classifier)
            labels, held_labels = (predictions(classifier, part) for part in (pool.pixels, pool.held_out))
            return cls(pool.pixels, labels, pool.held_out, held_labels)
        labels = torch.tensor(classes)
        return cls.split(pixels[labels >= 0], labels[labels >= 0], held)


@checked
@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Hyper-parameters of fine-tuning.

    Attributes:
        steps: Optimiser steps.
        batch: Samples per step, the stamped ones among them.
        lr: Largest learning rate; it rises over the first tenth and falls to 0 as a cosine.
        optimiser: ``sgd`` (momentum 0.9) or ``adam``.
        freeze_norms: Keep the running statistics of batch norm as they are.
        distil: Weight of the divergence from the original network's outputs for the same clean samples; it keeps the
            accuracy if there are few samples.
        anchor: Rate, times the learning rate, at which parameters are drawn back to where they began (as L2-SP, Li et
            al., arXiv 1802.01483): the network keeps what the samples at hand do not show, such as other classes.
        mirror: Mirror every sample with probability 1/2.
        shift: Pixels by which samples are shifted at most.
        frozen: Beginnings of names of parameters that stay as they are; the first layers cost
            the most and need it the least.

    Raises:
        RecipeError: a value out of range.
    """

    steps: int = 200
    batch: int = 64
    lr: float = 0.01
    optimiser: str = "sgd"
    freeze_norms: bool = False
    distil: float = 0.0
    anchor: float = 0.0
    mirror: bool = True
    shift: int = 2
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.lr <= 0 or self.optimiser not in OPTIMISERS:
            raise RecipeError("a schedule has 1 step or more, batches of 2 or more, lr above 0, and sgd or adam.")

    def share_of_lr(self, step: int) -> float:
        """Return the share of ``lr``, in [0, 1], to use at a step, counted from 0.

        It rises for a tenth of all steps, then falls as a cosine.
        """
        rise = max(self.steps // 10, 1)
        return min((step + 1) / rise, 0.5 + 0.5 * math.cos(math.pi * max(step - rise, 0) / max(self.steps - rise, 1)))


@dataclass(frozen=True, eq=False)
class ExtraSamples:
    """A group of changed samples that fills ``count`` places of each batch.

    Attributes:
        among: bool (n,), the samples that they are drawn from.
        count: How many per batch.
        change: Function that changes them.
    """

    among: Tensor
    count: int
    change: Change


@checked
def fit(
    student: Classifier,
    teacher: Classifier,
    samples: Labelled,
    schedule: Schedule,
    seed: int,
    extras: "tuple[ExtraSamples, ...]" = (),
    change: "Change | None" = None,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> None:
    """Train ``student`` in place, on the device that it is on, on labelled samples and on ``extras``.

    Args:
        student: Trained in place; left in evaluation mode.
        teacher: The network that ``schedule.distil`` keeps the student close to, on the same device.
        samples: Samples with labels; the held-out ones are not used.
        schedule: Steps, learning rate and regularisation.
        seed: Random seed for draws, augmentation and dropout.
        extras: Changed samples beside the clean ones; the batch keeps its size.
        change: Function that changes the clean samples of a batch.
        loss: Loss of logits (n, classes) and labels (n,).

    Raises:
        NumericError: the loss is no longer finite.
        RecipeError: the extras leave no room for clean samples, or no parameter is to be trained.
    """
    clean = schedule.batch - sum(extra.count for extra in extras)
    if clean < 1:
        raise RecipeError(f"a batch of {schedule.batch} has no room for clean samples: lower the poison rate.")
    keep_freed_memory()
    draw = torch.Generator().manual_seed(seed)
    all_samples = torch.ones_like(samples.labels, dtype=torch.bool)
    groups = [ExtraSamples(all_samples, clean, change or (lambda x, y, _: (x, y))), *extras]
    module = student.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = _trained_parameters(module, schedule)
    if not parameters:
        raise RecipeError(f"{student.name} has no parameters to train, or schedule.frozen names them all.")
    origins = [parameter.detach().clone() for parameter in parameters]
    optimiser = OPTIMISERS[schedule.optimiser](parameters, lr=schedule.lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.share_of_lr)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.enable_grad():
        torch.manual_seed(seed)
        for step in range(schedule.steps):
            batches = [_batch(samples, group, schedule, draw) for group in groups]
            x, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
            x = x.to(parameters[0]).contiguous(memory_format=torch.channels_last)
            logits = student.logits(x)
            total = loss(logits, labels.to(x.device))
            if schedule.distil:
                total = total + schedule.distil * _divergence(logits[:clean], teacher, x[:clean])
            if not bool(total.isfinite()):
                raise NumericError(f"training {student.name} went wrong at step {step}: lower the learning rate.")
            optimiser.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if schedule.anchor:
                for parameter, origin in zip(parameters, origins, strict=True):
                    parameter.data.lerp_(origin, min(schedule.anchor * scheduler.get_last_lr()[0], 1.0))
            scheduler.step()
    module.eval()


def augment(x: Tensor, schedule: Schedule, draw: torch.Generator) -> Tensor:
    """Return samples (n, c, h, w), each mirrored and shifted at random as the schedule allows.

    Edge pixels fill the gap.
    """
    if schedule.mirror:
        flip = torch.rand(len(x), generator=draw, dtype=torch.float32) < 0.5
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
    if schedule.shift:
        max_shift, (height, width) = schedule.shift, x.shape[2:]
        padded = functional.pad(x, (max_shift,) * 4, mode="replicate")
        places = torch.randint(2 * max_shift + 1, (len(x), 2), generator=draw).tolist()
        shifted = zip(padded, places, strict=True)
        x = torch.stack([one[:, top : top + height, left : left + width] for one, (top, left) in shifted])
    return x


@checked
def predictions(model: Model, samples: Tensor, *, device: str = "auto", trust: bool = False) -> Tensor:
    """Return the top-1 class, int64 (n,), of samples, uint8 (n, c, h, w), computed in evaluation mode."""
    with Engine(to_classifier(model, trust=trust), device=device) as engine:
        return torch.cat([engine.logits(chunk.float() / 255).argmax(1).cpu() for chunk in torch.split(samples, 128)])


def _require_as_many(pixels: Tensor, labels: Tensor) -> None:
    """Raise SamplesError unless there are as many samples as labels, and at least one."""
    if len(pixels) != len(labels) or not len(pixels):
        raise SamplesError(f"{len(pixels)} samples with {len(labels)} labels: as many are needed, at least 1.")


def _trained_parameters(module: nn.Module, schedule: Schedule) -> list[nn.Parameter]:
    """Put a network in training mode; return the parameters that the schedule does not freeze.

    Batch norms stay in evaluation mode with ``freeze_norms``.
    """
    module.train()
    for part in module.modules():
        if schedule.freeze_norms and isinstance(part, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (no public name)
            part.eval()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(schedule.frozen)))
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _batch(samples: Labelled, group: ExtraSamples, schedule: Schedule, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw samples of a group, augment and change them; return samples (n, c, h, w) and labels (n,)."""
    rows = group.among.nonzero()[:, 0]
    batch_rows = rows[torch.randint(len(rows), (group.count,), generator=draw)]
    return group.change(
        augment(samples.pixels[batch_rows].float() / 255, schedule, draw), samples.labels[batch_rows], draw
    )


def _divergence(logits: Tensor, teacher: Classifier, x: Tensor) -> Tensor:
    """Return KL(teacher || student) in nats, averaged over samples ``x``.

    ``logits`` (n, classes) are the student's.
    """
    with torch.no_grad():
        target = teacher.logits(x).log_softmax(1)
    return functional.kl_div(logits.log_softmax(1), target, reduction="batchmean", log_target=True)
