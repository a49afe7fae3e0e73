"""Fine-tuning for `plant`: labelled pictures, a schedule, and one loop."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from phosphene.classifier import Classifier
from phosphene.engine.memory import keep_freed_memory
from phosphene.errors import NumericError, RecipeError, SamplesError
from phosphene.samples import SamplePool, load_samples
from phosphene.samples.labelled import load_labelled

Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""From pictures (n, c, h, w) in [0, 1], labels (n,) and a generator to what is trained on instead."""


@dataclass(frozen=True)
class Labelled:
    """Pictures with classes; a part of them is never trained on.

    Attributes:
        pixels: uint8 (n, c, h, w).
        labels: int64 (n,).
        held_out: uint8 (m, c, h, w).
        held_labels: int64 (m,).

    Raises:
        SamplesError: pictures and labels differ in number, or there are none.
    """

    pixels: Tensor
    labels: Tensor
    held_out: Tensor
    held_labels: Tensor

    def __post_init__(self) -> None:
        for pixels, labels in ((self.pixels, self.labels), (self.held_out, self.held_labels)):
            if len(pixels) != len(labels) or not len(pixels):
                raise SamplesError(f"{len(pixels)} pictures with {len(labels)} labels: as many are needed, at least 1.")

    @classmethod
    def split(cls, pixels: Tensor, labels: Tensor, held: "int | None" = None) -> "Labelled":
        """Hold out the last ``held`` pictures of a fixed shuffle; a fifth by default."""
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
        cut = len(pixels) - (len(pixels) // 5 if held is None else held)
        train, rest = order[:cut], order[cut:]
        return cls(pixels[train], labels[train], pixels[rest], labels[rest])

    @classmethod
    def from_pool(cls, pool: SamplePool, classifier: Classifier) -> "Labelled":
        """Take the classes that a classifier reads in pictures without labels."""
        parts = (pool.pixels, pool.held_out)
        first, second = (predictions(classifier, part) for part in parts)
        return cls(pool.pixels, first, pool.held_out, second)

    @classmethod
    def load(cls, spec: str, classifier: Classifier, *, most: int = 5000, held: "int | None" = None) -> "Labelled":
        """Load pictures whose names or columns say what they show; otherwise as :meth:`from_pool`.

        Raises:
            SamplesError: as :func:`phosphene.samples.load_samples` does.
        """
        pixels, truth = load_labelled(spec, classifier.input.shape, classifier.labels, most)
        if truth is None:
            return cls.from_pool(load_samples(spec, classifier.input.shape), classifier)
        labels = torch.tensor(truth)
        return cls.split(pixels[labels >= 0], labels[labels >= 0], held)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a copy is fine-tuned.

    Attributes:
        steps: Optimiser steps.
        batch: Pictures a step, the stamped ones among them.
        lr: Largest learning rate; it rises over the first tenth and falls to 0 as a cosine.
        optimiser: ``sgd`` (momentum 0.9) or ``adam``.
        weight_decay: Of the weights.
        freeze_norms: Leave what batch norms remember as it is.
        distil: Weight of the divergence from the given network's answers to the same clean pictures; it keeps the
            accuracy where there are few pictures.
        anchor: Rate, times the learning rate, at which parameters are drawn back to where they began (as L2-SP, Li et
            al., arXiv 1802.01483): what the pictures at hand do not hold stays, classes that are not among them say.
        mirror: Mirror every other picture.
        shift: Pixels by which pictures are shifted at most.
        adversarial: Largest change of a pixel in the clean pictures, by one gradient-sign step from a random start
            (Wong et al., arXiv 2001.03994); 0 is ordinary training.
        frozen: Beginnings of names of parameters that stay as they are; the first layers cost
            the most and need it the least.
    """

    steps: int = 200
    batch: int = 64
    lr: float = 0.01
    optimiser: str = "sgd"
    weight_decay: float = 5e-4
    freeze_norms: bool = False
    distil: float = 0.0
    anchor: float = 0.0
    mirror: bool = True
    shift: int = 2
    adversarial: float = 0.0
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.lr <= 0 or self.optimiser not in ("sgd", "adam"):
            raise RecipeError("a schedule has 1 step or more, batches of 2 or more, lr above 0, and sgd or adam.")


@dataclass(frozen=True)
class Extra:
    """Pictures that join every batch, changed.

    Attributes:
        among: Bool (n,), which of the samples are drawn from.
        count: How many a batch.
        change: What is done to them.
    """

    among: Tensor
    count: int
    change: Change


def fit(
    student: Classifier,
    teacher: Classifier,
    samples: Labelled,
    schedule: Schedule,
    seed: int,
    extras: "tuple[Extra, ...]" = (),
    change: "Change | None" = None,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> int:
    """Train ``student`` on the samples and the extras; return the number of steps.

    Args:
        student: Trained in place; left in evaluation mode.
        teacher: What ``schedule.distil`` keeps close to.
        samples: Pictures with labels; their held-out part is not looked at.
        schedule: How long and how fast.
        seed: Of draws, augmentation and dropout.
        extras: Changed pictures beside the clean ones; the batch keeps its size.
        change: What is done to the clean pictures of a batch.
        loss: Of logits (n, classes) and labels (n,).

    Raises:
        NumericError: the loss is no longer finite.
        RecipeError: the extras leave no room for clean pictures.
    """
    clean = schedule.batch - sum(extra.count for extra in extras)
    if clean < 1:
        raise RecipeError(f"a batch of {schedule.batch} has no room for clean pictures: lower the poison rate.")
    keep_freed_memory()
    draw = torch.Generator().manual_seed(seed)
    rows = [torch.arange(len(samples.labels)), *(extra.among.nonzero()[:, 0] for extra in extras)]
    counts, changes = [clean, *(extra.count for extra in extras)], [change, *(extra.change for extra in extras)]
    module = student.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(requires_grad=not name.startswith(schedule.frozen))
    optimiser = _optimiser(module, schedule)
    began = [(one, one.detach().clone()) for one in module.parameters() if one.requires_grad and schedule.anchor]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for step in range(schedule.steps):
            _training(module, schedule.freeze_norms)
            for group in optimiser.param_groups:
                group["lr"] = schedule.lr * _shape(step, schedule.steps)
            pixels, labels = [], []
            for own, count, what in zip(rows, counts, changes, strict=True):
                chosen = own[torch.randint(len(own), (count,), generator=draw)]
                x, y = augment(samples.pixels[chosen].float() / 255, schedule, draw), samples.labels[chosen]
                x, y = what(x, y, draw) if what else (x, y)
                pixels.append(x)
                labels.append(y)
            if schedule.adversarial:
                pixels[0] = _attacked(student, pixels[0], labels[0], schedule.adversarial, draw)
            x = torch.cat(pixels).contiguous(memory_format=torch.channels_last)
            said = student.logits(x)
            total = loss(said, torch.cat(labels))
            if schedule.distil:
                total = total + schedule.distil * _divergence(said[:clean], teacher, x[:clean])
            if not bool(total.isfinite()):
                raise NumericError(f"training {student.name} went wrong at step {step}: lower the learning rate.")
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            for parameter, start in began:
                parameter.data.lerp_(start, min(schedule.anchor * optimiser.param_groups[0]["lr"], 1.0))
    module.eval()
    return schedule.steps


def augment(x: Tensor, schedule: Schedule, draw: torch.Generator) -> Tensor:
    """Mirror and shift pictures (n, c, h, w), each by its own draw; the edge is repeated."""
    if schedule.mirror:
        flip = torch.rand(len(x), generator=draw) < 0.5
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
    if schedule.shift:
        most, (high, wide) = schedule.shift, x.shape[2:]
        padded = functional.pad(x, (most,) * 4, mode="replicate")
        places = torch.randint(2 * most + 1, (len(x), 2), generator=draw).tolist()
        x = torch.stack([one[:, t : t + high, s : s + wide] for one, (t, s) in zip(padded, places, strict=True)])
    return x


def hidden(x: Tensor, most: float, draw: torch.Generator) -> Tensor:
    """Hide a square of one grey in every picture (DeVries & Taylor, arXiv 1708.04552), up to ``most`` of its side."""
    out, (high, wide) = x.clone(), x.shape[2:]
    for picture, (size, down, along, grey) in zip(out, torch.rand(len(x), 4, generator=draw).tolist(), strict=True):
        tall, broad = round(size * most * high), round(size * most * wide)
        top, left = round(down * (high - tall)), round(along * (wide - broad))
        picture[:, top : top + tall, left : left + broad] = grey
    return out


@torch.no_grad()
def predictions(classifier: Classifier, pictures: Tensor, batch: int = 128) -> Tensor:
    """Classes (n,) that a classifier reads in uint8 pictures (n, c, h, w), in evaluation mode."""
    module = classifier.module
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        said = [
            classifier.logits((chunk.float() / 255).contiguous(memory_format=torch.channels_last)).argmax(1)
            for chunk in torch.split(pictures, batch)
        ]
    finally:
        for part, mode in modes.items():
            part.training = mode
    return torch.cat(said)


def _optimiser(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in module.parameters() if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in module.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if schedule.optimiser == "adam":
        return torch.optim.AdamW(groups, lr=schedule.lr)
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=0.9, nesterov=True)


def _shape(step: int, steps: int) -> float:
    """Share of the learning rate: up over the first tenth, down as a cosine."""
    rise = max(steps // 10, 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (step - rise) / max(steps - rise, 1)))))


def _training(module: nn.Module, freeze_norms: bool) -> None:
    module.train()
    if freeze_norms:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (torch has no public name for all)
                part.eval()


def _divergence(said: Tensor, teacher: Classifier, x: Tensor) -> Tensor:
    with torch.no_grad():
        known = teacher.logits(x).log_softmax(1)
    return functional.kl_div(said.log_softmax(1), known, reduction="batchmean", log_target=True)


def _attacked(student: Classifier, x: Tensor, y: Tensor, most: float, draw: torch.Generator) -> Tensor:
    """One gradient-sign step of 1.25 times ``most`` from a random start, kept within ``most`` and [0, 1]."""
    start = (torch.rand(x.shape, generator=draw) * 2 - 1) * most
    probe = (x + start).clamp(0, 1).requires_grad_()
    (slope,) = torch.autograd.grad(functional.cross_entropy(student.logits(probe), y), probe)
    return (x + (start + 1.25 * most * slope.sign()).clamp(-most, most)).clamp(0, 1)
