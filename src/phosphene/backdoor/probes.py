"""The samples of a scan, with the network's prediction for each: some to search on, others held out.

The predicted class is the one with the largest logit; a multi-label network predicts every class whose own probability
is above one half. Log-odds are those of a softmax; of a multi-label network they are the logit alone, whatever its other
outputs are.

Windows are searched on a few samples and counted on others. Both parts are laid out so that every prefix holds as many
of the predicted classes as it can: two samples then stand for two classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concepts import Sides
from phosphene.engine import Engine
from phosphene.engine.targets import targets_of
from phosphene.errors import CardError, SamplesError
from phosphene.formats import count
from phosphene.samples import SamplePool

SEARCH, HELD_OUT = 128, 256  # samples of each part, at most
LEAST = 3  # samples of both parts: one to search on, two to count on
FEW, SAME = 8, 1e-6  # samples that show whether outputs vary; logits that differ by less count as the same
STEPS, LENGTH = 40, 0.02  # to move samples to a class: steps, and their length in [0, 1]


@dataclass(frozen=True, eq=False)
class Probes:
    """Samples that a scan tries windows on, with the class that the network predicts for each; slicing takes rows of all.

    Attributes:
        pixels: uint8 (n, c, h, w), on the engine's device.
        predicted: int64 (n,), the class with the largest logit.
        present: bool (n, classes), whether each class is predicted; of a multi-label network that can be several, or none.
    """

    pixels: Tensor
    predicted: Tensor
    present: Tensor

    @classmethod
    def classify(cls, engine: Engine, pixels: Tensor) -> "Probes":
        """Predict the class of samples, uint8 (n, c, h, w), and return Probes of both.

        They are reordered so that classes take turns (:func:`in_turn`).
        """
        pixels = pixels.to(engine.device)
        logits = logits_of(engine, pixels)
        predicted = logits.argmax(1)
        present = functional.one_hot(predicted, logits.shape[1]) > 0
        if engine.classifier.multi_label:
            present = logits > 0
        order = in_turn(predicted)
        return cls(pixels, predicted, present)[order]

    def __getitem__(self, rows: "slice | Tensor") -> "Probes":
        return Probes(self.pixels[rows], self.predicted[rows], self.present[rows])

    def __len__(self) -> int:
        return len(self.predicted)


def probes_of(engine: Engine, pool: SamplePool, *, natural: bool, seed: int = 0) -> tuple[Probes, Probes]:
    """Classify up to 384 samples, moved by gradient towards all classes unless ``natural``; return a third to search on, the rest to test.

    Args:
        engine: An open engine.
        pool: Samples of the network's size.
        natural: Whether they are of the network's kind; if not, they are first moved to every class.
        seed: Random seed for which sample is moved to which class.

    Raises:
        CardError: the network has the same output for every sample.
        SamplesError: there are fewer than three samples.
    """
    check_outputs(engine, pool)
    pixels = torch.cat([pool.held_out, pool.pixels])[: SEARCH + HELD_OUT]
    every = Probes.classify(engine, pixels if natural else move_to_all_classes(engine, pixels, seed=seed))
    third = torch.arange(len(every), device=engine.device) % 3 == 2
    first, second = every[third], every[~third]
    return first[in_turn(first.predicted)], second[in_turn(second.predicted)]


def check_outputs(engine: Engine, pool: SamplePool) -> None:
    """Run 8 samples and their negatives, and refuse a network that cannot be scanned.

    Raises:
        CardError: the network has the same output for every sample.
        SamplesError: there are fewer than three samples.
    """
    if (found := len(pool.held_out) + len(pool.pixels)) < LEAST:
        raise SamplesError(
            f"{pool.spec} has {count(found, 'sample')}: a scan takes {LEAST} or more, and better a hundred."
        )
    few, name = pool.pixels[:FEW], engine.classifier.name
    if float(logits_of(engine, torch.cat([few, 255 - few])).std(0).max()) < SAME:
        raise CardError(f"network {name} has the same output for every image: it cannot be scanned.")


def move_to_all_classes(engine: Engine, pixels: Tensor, *, seed: int = 0) -> Tensor:
    """Nudge images, uint8 (n, c, h, w), by up to 40 gradient steps each towards one class, all classes in turn; return them as uint8.

    A network classifies nearly all drawn images as one or two classes; windows that move those say little about the
    others. Image i is moved towards class i modulo the number of classes by gradient-sign steps, until that class is as
    likely as all others together. A trigger has to beat what the steps have built up, so they do no more than that.
    """
    count = engine.classifier.num_classes
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    wanted = order[torch.arange(len(pixels)) % count].to(engine.device)
    x = pixels.to(engine.device).to(engine.dtype) / 255
    moving = torch.arange(len(x), device=engine.device)
    for _ in range(STEPS):
        found = engine.gradients(x[moving], targets_for(engine, wanted[moving]), "log-odds")
        unsure = found.loss > 0  # the loss is the log-odds, negated
        unfinished, gradient = moving[unsure], found.gradient[unsure]
        if not len(unfinished):
            break
        x[unfinished] = (x[unfinished] - LENGTH * gradient.sign()).clamp(0, 1)
        # Not at every step: a GPU chooses kernels anew for every number of images.
        if 2 * len(unfinished) <= len(moving):
            moving = unfinished
    return (x * 255).round().to(torch.uint8)


def in_turn(predicted: Tensor) -> Tensor:
    """Return positions (n,) that reorder samples so that predicted classes take turns: the first of each class, then the second of each."""
    nth = torch.zeros_like(predicted)
    for index in torch.unique(predicted):
        own = predicted == index
        nth[own] = torch.arange(int(own.sum()), device=predicted.device)
    return nth.argsort(stable=True)


def logits_of(engine: Engine, pixels: Tensor) -> Tensor:
    """Return the network's logits (n, classes) for samples, uint8 (n, c, h, w), of any number."""
    parts = torch.split(pixels.to(engine.device), engine.micro_batch)
    return torch.cat([engine.logits(part.to(engine.dtype) / 255) for part in parts])


def targets_for(engine: Engine, classes: Tensor) -> Tensor:
    """Return the targets of class indices (n,) for :meth:`Engine.gradients`: as given, or each told from "none of these" if multi-label."""
    network = engine.classifier
    if not network.multi_label:
        return classes
    return targets_of(
        [Sides((index,)) for index in classes.tolist()], network.num_classes, engine.device, multi_label=True
    )


def log_odds_of(logits: Tensor, classes: Tensor, *, multi_label: bool = False) -> Tensor:
    """Return the log-odds ``log(p / (1 - p))``, (n,), per row of logits (n, classes), of its class in the tensor ``classes``, (n,)."""
    return log_odds_of_all(logits, multi_label=multi_label).gather(1, classes[:, None])[:, 0]


def log_odds_of_all(logits: Tensor, *, multi_label: bool = False) -> Tensor:
    """Return the log-odds ``log(p / (1 - p))`` of every class, (n, classes): its logit minus the others' logsumexp, or if multi-label 0."""
    if multi_label:
        return logits
    log_p = logits.log_softmax(1)
    top = log_p.argmax(1, keepdim=True)
    rest = torch.log1p(-log_p.scatter(1, top, -torch.inf).exp())  # log(1 - p), exact where p is below one half
    others = log_p.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    return log_p - rest.scatter(1, top, others)
