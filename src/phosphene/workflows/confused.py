"""The pairs of classes that a network confuses most on labelled samples, to be mapped as contrasts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concepts import Concept, Sides
from phosphene.demo import world
from phosphene.engine import Engine
from phosphene.errors import ConceptError, SamplesError, first_few
from phosphene.formats import percent
from phosphene.labels import first_synonym
from phosphene.samples import MEMORY, SamplePool
from phosphene.samples.labelled import load_labelled

# Samples that are classified at most, spread over all that there are.
MOST_SAMPLES = 5000
# Of the demo's shapes, which are drawn with their labels.
DRAWN_SAMPLES, DRAWN_SEED = 600, 20230401


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that a network confuses, as the two contrasts to map.

    Attributes:
        first: The contrast of one class with the other.
        second: The contrast the other way round.
        share: Mean probability, in [0, 1], that the network gives to the one class for samples of the other: the mean of both ways,
            or, if one of the classes has no samples, of the other's alone.
    """

    first: Concept
    second: Concept
    share: float

    def __str__(self) -> str:
        names = " and ".join(first_synonym(label) for _, label in self.first.up + self.first.against)
        return f"{names} (mean probability {percent(self.share)} for samples of the other)"


def confused_pairs(classifier: Classifier, pool: SamplePool, most: int, *, device: str = "auto") -> list[ConfusedPair]:
    """Return the pairs of classes that a network confuses most, the most confused first.

    Of such a pair, samples of one class get a high mean probability of the other.

    Probabilities are compared rather than predictions, so that few samples, or a network that makes no mistake on
    them, tell pairs apart too.

    Args:
        classifier: The network.
        pool: Samples of a folder, a ``.parquet`` or an ``.npz`` file with labels, of ``demo:shapes``, or of a data set in memory.
        most: How many pairs.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ConceptError: the network's outputs are independent.
        CardError: they are measurements.
        SamplesError: the samples cannot be read, or have no labels of at least two of the network's classes.
    """
    classifier.refuse_regression("a search for confused pairs")
    if classifier.multi_label:
        raise ConceptError(
            f"{classifier.name} has independent outputs, so it confuses no pairs: name contrasts, such as 'A vs B'."
        )
    pixels, truth = _labelled_samples(classifier, pool)
    with Engine(classifier, device=device) as engine:
        p = torch.cat(
            [engine.logits(part.float() / 255).double().softmax(1).cpu() for part in torch.split(pixels, 256)]
        )
    labels = torch.tensor(truth)
    total = torch.zeros(classifier.num_classes, classifier.num_classes, dtype=torch.float64)
    total.index_add_(0, labels[labels >= 0], p[labels >= 0])
    counts = labels[labels >= 0].bincount(minlength=len(total))[:, None]
    mean, has_samples = total / counts.clamp_min(1), (counts > 0).long()  # row: the true class
    classes_with_samples = (has_samples + has_samples.T).triu(1)  # how many of the two classes have samples: 0, 1 or 2
    confusion = ((mean + mean.T) / classes_with_samples).where(classes_with_samples > 0, -1)
    best = confusion.flatten().topk(min(most, int(classes_with_samples.count_nonzero())))
    pairs = []
    for share, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        a, b = divmod(place, len(total))
        ways = [Concept.of_sides(Sides((left,), (right,)), classifier.labels) for left, right in ((a, b), (b, a))]
        pairs.append(ConfusedPair(ways[0], ways[1], share))
    return pairs


def _labelled_samples(classifier: Classifier, pool: SamplePool) -> tuple[Tensor, list[int]]:
    """Return samples of a pool's spec, uint8 (n, c, h, w), and the network's class of each, -1 if unknown.

    Labels of fewer than two of the network's classes are a SamplesError.
    """
    if pool.spec == "demo:shapes":
        images, classes = world.draw_images(DRAWN_SAMPLES, DRAWN_SEED, classifier.input.size[0])
        names = [classifier.labels.closest(label) for label in world.LABELS]
        pixels = torch.from_numpy(images)
        truth: list[int] | None = [names[one][0] if len(names[one]) == 1 else -1 for one in classes.tolist()]
    elif pool.synthetic:
        raise SamplesError(
            "confused pairs need labelled samples: give a folder, .parquet or .npz of images with labels, or in Python a "
            "data set of images with labels."
        )
    else:
        pixels, truth = load_labelled(pool, classifier.input.shape, classifier.labels, MOST_SAMPLES)
    if truth is None or len(set(truth) - {-1}) < 2:
        examples = first_few(list(map(first_synonym, classifier.labels)), 3)
        fix = (
            "a data set of images with labels that are their names"
            if pool.spec == MEMORY
            else "images in folders named after them"
        )
        numbers, last = [one for one in pool.labels if type(one) is int], classifier.num_classes - 1
        if truth is None and numbers and (min(numbers), max(numbers)) != (0, last):
            raise SamplesError(
                f"labels of samples {pool.spec} go from {min(numbers)} to {max(numbers)}, and {classifier.name} has "
                f"{last + 1} classes, 0 to {last}: give {fix} ({examples})."
            )
        raise SamplesError(
            f"samples {pool.spec} have no labels of two classes of {classifier.name}: give {fix} ({examples})."
        )
    return pixels, truth
