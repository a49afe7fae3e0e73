"""The null model: how far the most deviating class lies in clean networks.

A network's figure is that of its most deviating class. The p-value of a figure is its rank among the figures of clean
networks, ``(1 + number of them at least as large) / (number + 1)``: it assumes nothing of their distribution, and with
133 networks it is never below 1 / 134. The networks that come with the package (``benchmarks/backdoors``) are small ones of
many kinds, and 21 of 1,000 or 1,001 classes. Networks of more than 64 classes are measured in another way, so they are ranked
among the latter, if samples are natural. If you have clean networks of the same kind, pass them as references.
"""

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.measure import MAX_UNSCREENED_CLASSES
from phosphene.classifier import Classifier

FILE = Path(__file__).with_name("null.json")
MIN_NETWORKS = 20  # of so many networks the lowest p-value is below 0.05


@dataclass(frozen=True)
class CleanNetwork:
    """A clean network of the null model, shipped or given as a reference, with its figures.

    Attributes:
        name: Name of the network.
        data: Data set that it was trained on.
        side: The smaller of its input's height and width, in pixels.
        classes: Number of its classes.
        natural: Whether it was measured with samples of its own kind; if not, with drawn images.
        figure: Figure of the most deviating class.
        all_to_all: Figure of the window that comes closest to an all-to-all trigger; ``None`` if none was searched.
    """

    name: str
    data: str
    side: int
    classes: int
    natural: bool
    figure: float
    all_to_all: "float | None" = None


@dataclass(frozen=True)
class Null:
    """The null model: clean networks among whose figures the figure of another network is ranked.

    Attributes:
        networks: Clean networks that come with the package and were measured in the same way.
        references: Clean networks that the user has given.
        shipped: All that come with the package and were measured with the same kind of samples: all-to-all figures, which
            do not depend on the number of classes, are ranked among theirs.
    """

    networks: tuple[CleanNetwork, ...]
    references: tuple[CleanNetwork, ...] = ()
    shipped: tuple[CleanNetwork, ...] = ()

    @classmethod
    def of(cls, classes: int, *, natural: bool, references: Sequence[CleanNetwork] = (), spec: str = "") -> "Null":
        """Return the null model for a network: all ``references`` and the shipped networks measured in the same way.

        That is on the same kind of samples and, if there are at least 20 of them, with more than 64 classes if the scanned
        one has more, and at most 64 otherwise.

        Args:
            classes: Number of classes of the scanned network.
            natural: Whether samples are of the network's own kind; if not, drawn images.
            references: Clean networks that the user has given; all are kept.
            spec: Spec of the scanned network; shipped networks trained on the demo data of that name are left out.
        """
        shipped = tuple(one for one in built_in() if one.natural == natural and one.data != spec)
        same_kind = tuple(
            one for one in shipped if (one.classes > MAX_UNSCREENED_CLASSES) == (classes > MAX_UNSCREENED_CLASSES)
        )
        return cls(same_kind if len(same_kind) >= MIN_NETWORKS else shipped, tuple(references), shipped)

    def __len__(self) -> int:
        return len(self.networks) + len(self.references)

    @property
    def figures(self) -> tuple[float, ...]:
        """The largest class deviation of each clean network, the shipped networks first and then the references."""
        return tuple(one.figure for one in (*self.networks, *self.references))

    def p_value(self, figure: float) -> float:
        """Return the p-value of a class's figure: its rank among clean networks.

        It is at least the share of references whose figure is as large. References are of the network's own kind: if
        half of them deviate as far, the p-value is at least 0.5.
        """
        return _rank(figure, [one.figure for one in self.networks], [one.figure for one in self.references])

    def without(self, positions: Container[int]) -> "Null":
        """Return the null model without the references at these positions."""
        return replace(self, references=tuple(one for k, one in enumerate(self.references) if k not in positions))

    def contesting(
        self, figures: Mapping[int, float], of_references: Sequence[Mapping[int, float]], alpha: float
    ) -> set[int]:
        """Return the positions of references that deviate as far in a class: without them, its p-value would be below ``alpha``.

        They are no evidence that the scanned network is clean: they may hold the same backdoor.

        Args:
            figures: Figure of each tested class of the scanned network, by index.
            of_references: Those of each reference.
            alpha: The p-value below which a class is a suspect.
        """
        found: set[int] = set()
        for index, figure in figures.items():
            alike = {k for k, one in enumerate(of_references) if one.get(index, -math.inf) >= figure}
            if self.p_value(figure) >= alpha > self.without(alike).p_value(figure):
                found |= alike
        return found

    def contesting_all_to_all(self, window: "AllToAll | None", alpha: float) -> set[int]:
        """Return the positions of references whose all-to-all window is as good: without them, ``window`` would work."""
        if window is None:
            return set()
        alike = {k for k, one in enumerate(self.references) if (one.all_to_all or 0.0) >= window.figure}
        without = self.without(alike).all_to_all_p_value(window.figure)
        decisive = window.compared(without, alpha).works and self.all_to_all_p_value(window.figure) >= alpha
        return alike if decisive else set()

    def all_to_all_p_value(self, figure: float) -> float:
        """Return the p-value of an all-to-all figure: its rank among clean networks.

        It is at least the share of references whose figure is as large.
        """
        shipped, references = (
            [one.all_to_all for one in networks if one.all_to_all is not None]
            for networks in (self.shipped, self.references)
        )
        return _rank(figure, shipped, references)

    def limit(self, alpha: float) -> float:
        """Return the figure above which the p-value is below ``alpha``; infinite with too few clean networks."""
        if self.p_value(math.inf) >= alpha:
            return math.inf
        return max(figure for figure in self.figures if self.p_value(figure) >= alpha)

    def describe(self) -> str:
        """Return a phrase on the null model: number, size and data sets of the shipped networks, and references."""
        sides = [one.side for one in self.networks]
        references = f" and {len(self.references)} given as references" if self.references else ""
        data = ", ".join(sorted({one.data for one in self.networks}))
        size = "small " if all(one.classes <= MAX_UNSCREENED_CLASSES for one in self.networks) else ""
        return f"{len(sides)} {size}clean networks of {min(sides)} to {max(sides)} pixels ({data}){references}"

    def unlike(self, classifier: Classifier) -> str:
        """Return a warning if no clean network is like the classifier in size, class count or kind; else "".

        Size and number of classes are alike up to a factor of 2. Kinds are transformers and multi-label networks, of which
        none comes with the package; with references, they are not warned of.
        """
        side, classes, networks = min(classifier.input.size), classifier.num_classes, (*self.networks, *self.references)
        modules = {type(module).__name__ for module in classifier.module.modules()}
        differences = []
        if not any(0.5 <= one.side / side <= 2 for one in networks):
            differences.append(f"none has about {side} pixels")
        if not any(0.5 <= one.classes / classes <= 2 for one in networks):
            differences.append(f"none has about {classes} classes")
        if classifier.multi_label and not self.references:
            differences.append("none has independent outputs (multi-label)")
        if any("Attention" in one for one in modules) and not self.references:
            differences.append("none is a transformer")
        if not differences:
            return ""
        text = ", ".join(differences)
        return f"The p-value says little: of the clean networks, {text}. Give some of this kind as references."


def _rank(figure: float, shipped: Sequence[float], references: Sequence[float]) -> float:
    """Return (1 + k) / (n + 1), where k of the n clean figures reach ``figure``.

    ``shipped`` and ``references`` together are the n figures. The result is at least the share of ``references`` that
    reach ``figure``, which is 0 if there are none.
    """
    reached = sum(one >= figure for one in references)
    rank = (1 + sum(one >= figure for one in shipped) + reached) / (len(shipped) + len(references) + 1)
    return max(rank, reached / max(len(references), 1))


@cache
def built_in() -> tuple[CleanNetwork, ...]:
    """Return the clean networks that ship with the package, read once per process from ``null.json``."""
    fields = json.loads(FILE.read_text(encoding="utf-8"))["networks"]
    return tuple(CleanNetwork(**one) for one in fields)
