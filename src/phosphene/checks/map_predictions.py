"""How a network classifies a handful of maps, and whether chance could do as well."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine.targets import hits, target_probabilities
from phosphene.engine.units import ACTIVE, UnitClassifier

# What chance alone gives at most so often is more than chance.
ALPHA = 0.05


@dataclass(frozen=True)
class MapPredictions:
    """Summary of how a network classifies maps, and whether that beats chance.

    Attributes:
        p_class: Mean probability of a map's own class; of a unit or an output, its percentile.
        hits: Maps that are classified as their class, among all classes, or whose unit is above the 99th percentile.
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
        """Whether there are no more hits than chance gives; ``None`` if that cannot be known."""
        return None if self.beyond_chance is None else not self.beyond_chance

    def figures(self, condition: object) -> dict[str, float]:
        """Return mean probability and top-1 share for a finding.

        For ``condition`` 0.2 they are ``p_class_at_0.2`` and ``top1_at_0.2``.
        """
        return {f"p_class_at_{condition}": self.p_class, f"top1_at_{condition}": self.top1}

    def __str__(self) -> str:
        return f"{self.hits} of {self.count}"


def predictions_of(logits: Tensor, targets: Tensor, network: "Classifier | None" = None) -> MapPredictions:
    """Return the MapPredictions of logits (maps, classes) and each map's target.

    Args:
        logits: (maps, classes), or (maps, classes + units).
        targets: What they should show: :func:`phosphene.engine.targets.targets_of`.
        network: The network that they come from; needed for units.
    """
    hit_count, units, exact = int(hits(logits, targets).sum()), 0, logits.double()
    if isinstance(network, UnitClassifier):
        units, confidences = len(network.layers), network.confidences(exact, targets)
    else:
        confidences = target_probabilities(exact, targets)
    chance = beyond_chance(hit_count, chance_rates(logits, targets, units))
    return MapPredictions(float(confidences.mean()), hit_count, len(logits), chance)


def chance_rates(logits: Tensor, targets: Tensor, units: int = 0) -> list[float]:
    """Return the probability of a hit by chance for each map.

    It is one over the number of classes (of sets: the share of the target's classes; of units: 1 %, the share of
    samples above the 99th percentile), or, if that is more, the share of the maps of other targets that hit this one,
    as many networks have a class that they predict for everything unknown. ``units`` is the number of columns of
    units, which are the last ones.
    """
    rates = []
    for target in targets:
        others = logits[(targets != target) if target.ndim == 0 else (targets != target).any(1)]
        share = float(hits(others, target.expand(len(others), *target.shape)).double().mean()) if len(others) else 0.0
        if target.ndim == 0:
            least = 1 / logits.shape[1]
        elif units and (target[-units - 1 : -1] > 0).any():
            least = 1 - ACTIVE
        else:
            least = float((target > 0).sum() / (target != 0).sum())
        rates.append(max(share, least))
    return rates


def beyond_chance(hits: int, rates: Sequence[float]) -> "bool | None":
    """Return whether chance gives so many hits in at most 1 of 20 cases.

    It is ``None`` if not even all hits would show it.

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
