"""How a network reads a handful of maps, and whether chance could do as well."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A reading that chance alone gives at most so often is more than chance.
ALPHA = 0.05


@dataclass(frozen=True)
class Reading:
    """How a network reads maps.

    Attributes:
        p_class: Mean probability of a map's own class.
        hits: Maps that are read as their class, among all classes.
        count: Maps.
        beyond_chance: Whether so many hits are more than chance gives; ``None`` if so few maps could never tell.
    """

    p_class: float
    hits: int
    count: int
    beyond_chance: "bool | None"

    @property
    def top1(self) -> float:
        """Share of maps that are read as their class."""
        return self.hits / self.count

    @property
    def at_chance(self) -> "bool | None":
        """The opposite of :attr:`beyond_chance`."""
        return None if self.beyond_chance is None else not self.beyond_chance

    def figures(self, condition: object) -> dict[str, float]:
        """Return the figures under their names."""
        return {f"p_class_at_{condition}": self.p_class, f"top1_at_{condition}": self.top1}

    def __str__(self) -> str:
        return f"{self.hits} of {self.count}"


def read(logits: Tensor, truth: Sequence[int]) -> Reading:
    """Read maps of classes ``truth`` off a network's logits (maps, classes) for their pictures."""
    own = torch.tensor(list(truth))
    probabilities = logits.double().softmax(1)
    answers = logits.argmax(1)
    hits = (answers == own).tolist()
    return Reading(
        float(probabilities.gather(1, own[:, None]).mean()),
        sum(hits),
        len(hits),
        beyond_chance(sum(hits), habits(answers.tolist(), truth, logits.shape[1])),
    )


def habits(answers: Sequence[int], truth: Sequence[int], classes: int) -> list[float]:
    """Return for each map how often a network that sees nothing in it would still read it as its class.

    One over the number of classes, or the share of the other classes' maps that are read so: many networks have a class
    that they take for everything they do not know.
    """
    chances = []
    for own in truth:
        others = [answer for answer, other in zip(answers, truth, strict=True) if other != own]
        share = others.count(own) / len(others) if others else 0.0
        chances.append(max(share, 1 / classes))
    return chances


def beyond_chance(hits: int, chances: Sequence[float]) -> "bool | None":
    """Say whether so many hits come by chance at most once in twenty; ``None`` if even a full score would.

    Args:
        hits: Number of hits.
        chances: Probability of each hit by chance; their number is Poisson-binomial.
    """
    odds = [1.0]  # of 0, 1, ... hits
    for chance in chances:
        miss, hit = [*odds, 0.0], [0.0, *odds]
        odds = [(1 - chance) * a + chance * b for a, b in zip(miss, hit, strict=True)]
    if odds[-1] > ALPHA:
        return None
    return sum(odds[hits:]) <= ALPHA
