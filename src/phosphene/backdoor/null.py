"""What clean networks look like: how far, by chance, one class needs less of a pattern than the others.

A class's *deviation* is ``log(median size of all classes / its own size)``: 0.7 means that it needs half of what the
middle class needs. Classes differ in clean networks too, in some more than in others, so that a fixed limit raises
false alarms. The null model is the upper tail of the deviations of clean networks' classes, over each network's spread.
Above a threshold the excess is taken to be exponential (peaks over threshold: Pickands, Annals of Statistics 1975).
Because its scale is known from n excesses only, the chance of a new one is the predictive one,
``(1 + y / (n scale)) ** -n``: few clean networks make a cautious test.

Of many classes a look chooses those that are tested, which are easier to reach than others: their tail begins further
out: where it does among the tested classes of clean networks of as many. How fast it falls is known from those and, for
most of its excesses, from the networks of ten classes.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FILE = Path(__file__).with_name("null.json")
TOGETHER = "together"
NARROWEST = 0.01  # spread, as a logarithm
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
    def fit(cls, networks: Sequence[Tensor], others: "Tail | None" = None) -> "Tail":
        """Fit the tail to the deviations of clean networks, (classes,) each.

        Args:
            networks: The deviations.
            others: The tail of networks of another kind, which may begin elsewhere but is taken to fall as fast: few
                networks tell a threshold better than a scale.
        """
        values = torch.cat([one.double() for one in networks])
        threshold = float(values.quantile(1 - SHARE))
        above = values[values > threshold] - threshold
        share = max(len(above), 1) / len(values)  # where all are alike, the next one may be the first that is not
        total, count = float(above.sum()), max(len(above), 1)
        if others is not None:
            total, count = total + others.scale * others.count, count + others.count
        return cls(threshold, share, max(total / count, 1e-3), count, len(networks))

    def chance(self, deviation: float) -> float:
        """Return the chance that a clean class deviates this far or further."""
        excess = deviation - self.threshold
        if excess <= 0:
            return 1.0  # the body of the distribution is no evidence
        return self.share * (1 + excess / (self.count * self.scale)) ** -self.count

    def p_value(self, deviation: float, classes: int) -> float:
        """Return the chance that any of ``classes`` clean classes deviates this far."""
        return -math.expm1(classes * math.log1p(-min(self.chance(deviation), 1 - 1e-12)))


@dataclass(frozen=True)
class Null:
    """What is usual in clean networks.

    Attributes:
        tails: By statistic, of the deviations over the network's spread; :data:`TOGETHER` is one.
        spreads: By statistic, how widely the classes of a clean network usually lie apart, as a logarithm.
    """

    tails: dict[str, Tail]
    spreads: dict[str, float]

    @classmethod
    def fit(
        cls,
        networks: Sequence[Mapping[str, Tensor]],
        tested: "Sequence[Tensor] | None" = None,
        others: "Null | None" = None,
    ) -> "Null":
        """Fit to clean networks, each given by its classes' deviations (classes,), by statistic.

        Args:
            networks: The deviations.
            tested: Bool (classes,) of each network: those that a look has chosen, as it will in the network in
                question. They alone make the tails; all make the spreads.
            others: Networks of another kind, to whose tails the scales are pooled.
        """
        names = list(networks[0])
        spreads = {name: float(torch.tensor([spread(one[name]) for one in networks]).median()) for name in names}
        bare = cls({}, {name: max(value, NARROWEST) for name, value in spreads.items()})
        scaled = [in_spreads(one, {name: bare.unit(name, one[name]) for name in names}) for one in networks]
        chosen = tested or [torch.ones_like(one[names[0]], dtype=torch.bool) for one in networks]

        def tail(name: str, values: list[Tensor]) -> Tail:
            own = [one[these] for one, these in zip(values, chosen, strict=True)]
            return Tail.fit(own, others.tails[name] if others else None)

        each = cls({name: tail(name, [one[name] for one in scaled]) for name in names}, bare.spreads)
        if len(names) == 1:  # the mean of one statistic says nothing more
            return each
        return cls({**each.tails, TOGETHER: tail(TOGETHER, [each.together(one) for one in scaled])}, bare.spreads)

    def but(self, other: "Null") -> "Null":
        """Return the null model with the other's statistics in place of its own, and without that of their mean."""
        tails = {name: tail for name, tail in {**self.tails, **other.tails}.items() if name != TOGETHER}
        return Null(tails, {**self.spreads, **other.spreads})

    def unit(self, name: str, usual: Tensor) -> float:
        """Return the spread of a network, by which a statistic's deviations are divided so that networks compare.

        It is half its own and half the usual one (as variances): ten classes tell their own only roughly.

        Args:
            name: The statistic.
            usual: Deviations of the classes that tell the network's own spread.
        """
        if name not in self.spreads:
            return 1.0
        own = spread(usual) if len(usual) >= FEWEST_CLASSES else self.spreads[name]
        return math.sqrt((own**2 + self.spreads[name] ** 2) / 2)

    def together(self, scaled: Mapping[str, Tensor]) -> Tensor:
        """Return the mean over the statistics, each over what is usual in it: (classes,).

        A trigger stands out a little in all families; a class that is easy by nature does so in one.
        """
        known = [name for name in scaled if name in self.tails]
        usual = {name: max(self.tails[name].threshold, 0.0) + self.tails[name].scale for name in known}
        return torch.stack([scaled[name].double() / usual[name] for name in known]).mean(0)

    def covers(self, scaled: Mapping[str, Tensor]) -> bool:
        """Say whether these are all of the statistics that the tail of their mean was fitted to."""
        return len(self.spreads) > 1 and TOGETHER in self.tails and set(self.spreads) <= set(scaled)

    def to_dict(self) -> dict[str, Any]:
        """Write as JSON holds it."""
        return {"tails": {name: asdict(tail) for name, tail in self.tails.items()}, "spreads": self.spreads}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Null":
        """Read what :meth:`to_dict` wrote."""
        return cls({name: Tail(**fields) for name, fields in data["tails"].items()}, dict(data["spreads"]))


def in_spreads(away: Mapping[str, Tensor], units: Mapping[str, float]) -> dict[str, Tensor]:
    """Return a network's deviations (classes,) by statistic, each over the network's spread."""
    return {name: values / units.get(name, 1.0) for name, values in away.items()}


def spread(away: Tensor) -> float:
    """Return how widely deviations lie apart: their median absolute deviation, as a normal one's standard deviation."""
    return 1.4826 * float((away - away.median()).abs().median())


@cache
def built_in(samples: str = "natural") -> Null:
    """Return the null model of clean networks that comes with the package.

    Args:
        samples: ``natural`` or ``synthetic``, what the patterns are made from (``benchmarks.backdoor null``);
            ``many-natural`` and ``many-synthetic``: for networks of so many classes that a look chooses the tested ones
            (``benchmarks.backdoors.imagenet_null``; measured with natural samples).
    """
    data: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return Null.from_dict(data[samples])
