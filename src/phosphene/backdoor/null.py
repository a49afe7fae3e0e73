"""What clean networks look like: how far, by chance, one class needs less of a pattern than the others.

A class's *deviation* is ``log(median size of all classes / its own size)``: 0.7 means that it needs half of what the
middle class needs. Classes differ in clean networks too, so that a fixed limit raises false alarms; the null model is
the upper tail of the deviations of clean networks' classes. Above a threshold the excess is taken to be exponential
(peaks over threshold: Pickands, Annals of Statistics 1975). Because its scale is known from n excesses only, the chance
of a new one is the predictive one, ``(1 + y / (n scale)) ** -n``: few clean networks make a cautious test.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FILE = Path(__file__).with_name("null.json")
TOGETHER, LOOK = "together", "look"
SHARE = 0.2  # of the clean deviations lie above the threshold
FEWEST_CLASSES = 5  # a median of fewer says nothing


def deviations(size: Tensor, middle: "float | None" = None) -> Tensor:
    """Return how many times less each class needs than the middle class, as a natural logarithm: (classes,).

    Args:
        size: (classes,).
        middle: Logarithm of the usual size, where the classes are too few to tell it.
    """
    return (float(size.log().median()) if middle is None else middle) - size.log()


@dataclass(frozen=True)
class Tail:
    """The upper tail of clean classes' deviations in one family.

    Attributes:
        threshold: Deviation above which the tail begins.
        share: Of clean classes above it.
        scale: Mean excess over it.
        count: Excesses that the scale is known from.
        networks: Clean networks that they come from.
    """

    threshold: float
    share: float
    scale: float
    count: int
    networks: int

    @classmethod
    def fit(cls, networks: Sequence[Tensor]) -> "Tail":
        """Fit the tail to the deviations of clean networks, (classes,) each."""
        values = torch.cat([one.double() for one in networks])
        threshold = float(values.quantile(1 - SHARE))
        above = values[values > threshold] - threshold
        scale = float(above.mean()) if len(above) else 0.0
        return cls(threshold, len(above) / len(values), max(scale, 1e-3), max(len(above), 1), len(networks))

    def chance(self, deviation: float) -> float:
        """Return the chance that a clean class deviates this far or further."""
        excess = deviation - self.threshold
        if excess <= 0:
            return 1.0  # the body of the distribution is no evidence
        return self.share * (1 + excess / (self.count * self.scale)) ** -self.count

    def widened(self, other: "Tail") -> "Tail":
        """Return this tail, where it is narrower than another, as wide as that."""
        return replace(self, threshold=max(self.threshold, other.threshold), scale=max(self.scale, other.scale))

    def p_value(self, deviation: float, classes: int) -> float:
        """Return the chance that any of ``classes`` clean classes deviates this far."""
        return -math.expm1(classes * math.log1p(-min(self.chance(deviation), 1 - 1e-12)))


@dataclass(frozen=True)
class Null:
    """What is usual in clean networks.

    Attributes:
        tails: Of the deviations, by statistic; :data:`TOGETHER` is one, and :data:`LOOK` where classes are many.
    """

    tails: dict[str, Tail]

    @classmethod
    def fit(cls, networks: Sequence[Mapping[str, Tensor]]) -> "Null":
        """Fit to clean networks, each given by its classes' deviations (classes,), by statistic."""
        tails = {name: Tail.fit([one[name] for one in networks]) for name in networks[0]}
        half = cls(tails)
        return cls({**tails, TOGETHER: Tail.fit([half.together(one) for one in networks])})

    def together(self, found: Mapping[str, Tensor]) -> Tensor:
        """Return the mean deviation over the statistics, each over what is usual in it: (classes,).

        A trigger stands out a little in all families; a class that is easy by nature does so in one.
        """
        known = [name for name in found if name in self.tails and name != LOOK]
        usual = {name: max(self.tails[name].threshold, 0.0) + self.tails[name].scale for name in known}
        return torch.stack([found[name].double() / usual[name] for name in known]).mean(0)

    def with_many(self, usual: Mapping[str, Tensor], look: Tensor) -> "Null":
        """Return the null model of a network of many classes, which tell what is usual in it themselves.

        Args:
            usual: Deviations of classes drawn at random, by statistic; no tail is narrower than theirs.
            look: What the first look saw of all classes; all but the largest are its null model.
        """
        own = Null.fit([usual])
        tails = {
            name: tail.widened(own.tails[name]) if name in own.tails else tail for name, tail in self.tails.items()
        }
        return Null({**tails, LOOK: Tail.fit([look.sort().values[:-1]])})

    def to_dict(self) -> dict[str, Any]:
        """Write as JSON holds it."""
        return {name: asdict(tail) for name, tail in self.tails.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Null":
        """Read what :meth:`to_dict` wrote."""
        return cls({name: Tail(**fields) for name, fields in data.items()})


@cache
def built_in(samples: str = "natural") -> Null:
    """Return the null model of the clean networks that ``benchmarks.backdoor null`` measured.

    Args:
        samples: ``natural`` or ``synthetic``: what the patterns are made from.
    """
    data: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return Null.from_dict(data[samples])
