"""How findings say that a network recognises maps of classes, or of units and outputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from phosphene.concepts import Concept
from phosphene.formats import BEYOND, percent

PLURALS = {"class": "classes", "unit": "units", "output": "outputs", "concept": "concepts"}


@dataclass(frozen=True)
class Words:
    """What the maps of a finding are of, in words.

    Attributes:
        kind: ``class`` (or a set of them), ``unit``, ``output``, or ``concept`` if there are some of each.
    """

    kind: str

    @classmethod
    def of(cls, concepts: Iterable[Concept]) -> Self:
        """Return the Words for maps of these concepts."""
        kinds = {("output" if one.unit.is_output else "unit") if one.unit else "class" for one in concepts}
        return cls(kinds.pop() if len(kinds) == 1 else "concept")

    @property
    def several(self) -> str:
        """The plural of ``kind``."""
        return PLURALS[self.kind]

    def recognised(self, network: str, maps: str) -> str:
        """Return a clause that says that a network recognises maps, without capital and full stop.

        ``network`` is "the network" and ``maps`` "3 of 4", for example.
        """
        if self.kind == "class":
            return f"{network} classifies {maps} as their class"
        verb = {
            "unit": "raise their unit above the 99th percentile",
            "output": f"take their output {BEYOND}",
            "concept": "are classified as their class, or raise their unit above the 99th percentile",
        }[self.kind]
        return f"in {network}, {maps} {verb} of the samples"

    @property
    def moved_to(self) -> str:
        """Where a map moves samples that it is subtracted from, as text."""
        above = "above the 99th percentile"
        return {"class": "to the class", "unit": above, "output": BEYOND, "concept": f"to the class, or {above}"}[
            self.kind
        ]

    @property
    def confidence(self) -> str:
        """Name of the mean confidence of maps: ``p``; of units and outputs ``mean percentile``."""
        return {"class": "p", "concept": "mean p or percentile"}.get(self.kind, "mean percentile")

    def number(self, value: float) -> str:
        """Return a mean confidence as text: ``0.75``, or of units and outputs ``75 %``."""
        return f"{value:.2f}" if self.kind in ("class", "concept") else percent(value)


def sentence(clause: str) -> str:
    """Return a clause with a capital and a full stop."""
    return f"{clause[:1].upper()}{clause[1:]}."
