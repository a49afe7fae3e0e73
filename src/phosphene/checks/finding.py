"""The outcome of a check."""

from dataclasses import asdict, dataclass
from typing import Any

TOO_LITTLE = "That is too little to judge by: map more classes, or maps that the network recognises."

FEWEST = 4  # maps of different classes from which a check can be passed
TOO_FEW = f"Too few maps to tell: check at least {FEWEST} classes."


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: Name of the check.
        figures: Name -> value that was measured; ``hog_at_2`` is the HOG similarity under condition 2.
        passed: Whether the maps do what they should; ``None`` if there is no rule, or too little to judge by.
        explanation: Meaning of the figures, in one to three plain sentences; ``reading`` in JSON.
        cost: Maps that were made for it, beyond those that an earlier check had made.
    """

    name: str
    figures: dict[str, float]
    passed: "bool | None"
    explanation: str
    cost: int = 0

    @property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.explanation.endswith(TOO_FEW):
            return "too few to tell"
        return {True: "passed", False: "FAILED", None: "no verdict"}[self.passed]

    @property
    def conditions(self) -> dict[str, dict[str, float]]:
        """The figures that were measured under several conditions, by condition: ``{"2": {"hog": 0.1}}``."""
        table: dict[str, dict[str, float]] = {}
        for key, value in self.figures.items():
            name, at, condition = key.partition("_at_")
            if at:
                table.setdefault(condition, {})[name] = value
        return table

    @property
    def columns(self) -> list[str]:
        """Names of the figures that were measured under several conditions."""
        return list(dict.fromkeys(name for figures in self.conditions.values() for name in figures))

    @property
    def plain(self) -> dict[str, float]:
        """The other figures."""
        return {key: value for key, value in self.figures.items() if "_at_" not in key}

    def to_dict(self) -> dict[str, Any]:
        """Return every attribute by its name in ``checks.json``."""
        facts = asdict(self)
        return {"reading" if key == "explanation" else key: value for key, value in facts.items()}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> "Finding":
        """Rebuild a finding from what :meth:`to_dict` returned; ``runs.checks`` has checked the types.

        Raises:
            KeyError: an attribute is missing.
        """
        return cls(facts["name"], facts["figures"], facts["passed"], facts["reading"], facts["cost"])


def judged(
    name: str, figures: dict[str, float], maps: int, passed: "bool | None", facts: str, if_passed: str, if_failed: str
) -> Finding:
    """Return a finding whose explanation is the facts, and what they mean by the verdict ``passed``.

    Maps of fewer than ``FEWEST`` classes can fail a check, but not pass it.
    """
    if maps < FEWEST and passed is not False:
        return Finding(name, figures, None, f"{facts} {TOO_FEW}")
    meaning = {True: if_passed, False: if_failed, None: TOO_LITTLE}[passed]
    return Finding(name, figures, passed, f"{facts} {meaning}")


def two_decimals(value: float) -> str:
    """Return two decimals, without a minus sign if they are 0."""
    return f"{round(value, 2) + 0.0:.2f}"


def all_of(*parts: "bool | None") -> "bool | None":
    """Return False if one part is False, else ``None`` if one cannot be judged, else True."""
    if False in parts:
        return False
    return None if None in parts else True
