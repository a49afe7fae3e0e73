"""How a network classifies a handful of maps, and whether chance could do as well."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# What chance alone gives at most so often is more than chance.
ALPHA = 0.05


@dataclass(frozen=True)
class MapPredictions:
    """Summary of how a network classifies maps: mean probability of their classes, number of hits, and whether that beats chance.

    Attributes:
        p_class: Mean probability of a map's own class.
        hits: Maps that are classified as their class, among all classes.
        count: Maps.
        beyond_chance: Whether so many hits are more than chance gives; ``None`` if so few maps could never show it.
    """

    p_class: float
    hits: int
    count: int
    beyond_chance: "bool | None"

    @property
    def top1(self) -> float:
        """Share of the maps that the network classifies as their own class, in [0, 1]."""
        return self.hits / self.count

    @property
    def at_chance(self) -> "bool | None":
        """Whether there are no more hits than chance gives, the opposite of ``beyond_chance``; ``None`` if that cannot be known."""
        return None if self.beyond_chance is None else not self.beyond_chance

    def figures(self, condition: object) -> dict[str, float]:
        """Return mean probability and top-1 share as ``p_class_at_CONDITION`` and ``top1_at_CONDITION``, for a finding."""
        return {f"p_class_at_{condition}": self.p_class, f"top1_at_{condition}": self.top1}

    def __str__(self) -> str:
        return f"{self.hits} of {self.count}"


def predictions_of(logits: Tensor, truth: Sequence[int]) -> MapPredictions:
    """Return hits, mean probability of the true class, and whether hits beat chance, from logits (maps, classes) and true classes."""
    own = torch.tensor(list(truth))
    predicted = logits.argmax(1)
    hits = int((predicted == own).sum())
    return MapPredictions(
        float(logits.double().softmax(1).gather(1, own[:, None]).mean()),
        hits,
        len(truth),
        beyond_chance(hits, chance_rates(predicted.tolist(), truth, logits.shape[1])),
    )


def chance_rates(predicted: Sequence[int], truth: Sequence[int], classes: int) -> list[float]:
    """From predicted and true classes, return each map's probability of a hit by chance: 1 / classes, or more for a favoured class.

    One over the number of classes, or the share of the other classes' maps for which it predicts this class: many
    networks have a class that they predict for everything unknown.
    """
    rates = []
    for own in truth:
        others = [prediction for prediction, other in zip(predicted, truth, strict=True) if other != own]
        share = others.count(own) / len(others) if others else 0.0
        rates.append(max(share, 1 / classes))
    return rates


def beyond_chance(hits: int, rates: Sequence[float]) -> "bool | None":
    """Return whether chance, at each map's rate, gives as many hits at most once in 20 times; ``None`` if even all hits would not show it.

    Args:
        hits: Number of hits.
        rates: Probability of each hit by chance; their number is Poisson-binomial.
    """
    odds = [1.0]  # probabilities of 0, 1, ... hits
    for rate in rates:
        odds = [(1 - rate) * miss + rate * hit for miss, hit in zip([*odds, 0.0], [0.0, *odds], strict=True)]
    if odds[-1] > ALPHA:
        return None
    return sum(odds[hits:]) <= ALPHA
