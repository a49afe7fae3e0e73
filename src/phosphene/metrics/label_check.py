"""What labelled samples say: whether a network has learned their classes, and whether its own are in the order of its labels."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from phosphene.errors import first_few
from phosphene.formats import percent
from phosphene.labels import Labels

MIN_LABELS = 16
STANDARD_ERRORS = 3  # standard errors by which the best convention's accuracy must beat the commonest class
MIN_AGREEMENT = 0.5  # beyond chance: from there on, an order fits
MAX_CHANCE = 0.01  # a probability below which an accuracy is no accident


def with_labels(truth: "Sequence[int] | None") -> tuple[Tensor, Tensor]:
    """Return the positions of the samples whose class is known, and their classes, int64.

    ``truth`` is a class per sample, -1 if it is unknown.
    """
    classes = torch.tensor(list(truth or ()), dtype=torch.int64)
    positions = (classes >= 0).nonzero()[:, 0]
    return positions, classes[positions]


def has_learned(correct: Tensor, labels: Tensor) -> bool:
    """Return whether the best convention's accuracy clearly beats that of always the commonest class.

    ``correct`` is (k, n). Under 16 labels, it is false.
    """
    if len(labels) < MIN_LABELS:
        return False
    base_rate = float(labels.bincount().max()) / len(labels)
    error = math.sqrt(base_rate * (1 - base_rate) / len(labels))
    return float(correct.mean(1).max()) > base_rate + max(0.1, STANDARD_ERRORS * error)


def order_doubt(predicted: Tensor, truth: Tensor, labels: Labels, *, is_sure: bool) -> str:
    """Return a line that the order of the classes does not fit, with one that does if the samples show one; else empty.

    An order fits if it agrees with the predictions far better than the labels do, where agreement is Cohen's kappa: 0 by
    chance, 1 at best. Without such an order, accuracy must be clearly below chance, and the network sure of its predictions.

    Args:
        predicted: The class that the network predicts for each sample, int64 (n,).
        truth: The class of each by its label, int64 (n,).
        labels: The network's.
        is_sure: Whether the predictions vary with confidence.
    """
    if len(truth) < MIN_LABELS:
        return ""
    n, share, chance = len(truth), *_agreement(predicted, truth)
    orders = [(*_agreement(predicted, wanted), text) for wanted, text in _orders(predicted, truth, labels)]
    best, by_chance, text = max(orders, key=lambda one: _kappa(*one[:2]))
    accuracy = f"the order of the classes does not fit the labels: accuracy is {percent(share)}"
    if _kappa(best, by_chance) > max(MIN_AGREEMENT, 2 * _kappa(share, chance)):
        return f"{accuracy}, and {percent(best)} if {text}: correct the labels"
    hits = round(share * n)
    tail = sum(math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(hits + 1))
    return f"{accuracy}, below chance ({percent(chance)}): check the labels" if is_sure and tail < MAX_CHANCE else ""


def _orders(predicted: Tensor, truth: Tensor, labels: Labels) -> Iterator[tuple[Tensor, str]]:
    """Yield, for each order that is tried, the class that it expects in place of each of ``truth``, and its text after "if"."""
    count = len(labels)
    for shift in sorted({*((predicted - truth) % count).tolist()} - {0}):  # all others fit no sample
        step = f"plus {shift}" if 2 * shift <= count else f"minus {count - shift}"
        yield (truth + shift) % count, f"each predicted index is the labelled one {step}"
    ranks = torch.tensor(sorted(range(count), key=lambda index: labels[index])).argsort()
    yield ranks[truth], "the network's classes are in alphabetical order"
    # The commonest prediction for each label, counted in one half of the samples and tried on the other.
    by_label, expected = truth.argsort(stable=True), torch.full_like(truth, -1)
    halves = by_label[::2], by_label[1::2]
    for half, other in (halves, halves[::-1]):
        pairs = Counter(zip(truth[half].tolist(), predicted[half].tolist(), strict=True))
        # Of equally common ones the smallest; a matrix of all pairs of classes would fill the memory.
        commonest = dict(pair for pair, _ in sorted(pairs.items(), key=lambda one: (one[1], -one[0][1])))
        expected[other] = torch.tensor([commonest.get(label, -1) for label in truth[other].tolist()])
    others = {int(label): int(one) for label, one in zip(truth, expected, strict=True) if one not in (-1, label)}
    texts = [f"{labels.short(one)!r} is predicted for {labels.short(label)!r}" for label, one in sorted(others.items())]
    yield expected, first_few(texts, 3)


def _agreement(predicted: Tensor, expected: Tensor) -> tuple[float, float]:
    """Return the share of samples for which two lists of classes, (n,) each, agree, and the share if they were independent."""
    counts, expected_counts = Counter(predicted.tolist()), Counter(expected.tolist())
    chance = sum(count * expected_counts[one] for one, count in counts.items()) / len(predicted) ** 2
    return float((predicted == expected).double().mean()), chance


def _kappa(share: float, chance: float) -> float:
    """Return Cohen's kappa: agreement beyond chance as a share of what is possible; 0 if chance is all."""
    return (share - chance) / (1 - chance) if chance < 1 else 0.0
