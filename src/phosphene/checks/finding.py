"""The outcome of a check."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from phosphene.runs.checks import TOO_FEW, verdict

RECOGNITION_ADVICE = "That is too little to judge by: map more {what}, or maps that the network recognises."
CHANCE_ADVICE = (
    "That is too little to judge by, because so few maps could all be recognised by chance: check more {what} (the option "
    "most), or map more."
)

FEWEST = 4  # maps of different classes from which a check can pass or fail


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: Name of the check.
        figures: Name -> value that was measured; ``hog_at_2`` is the HOG similarity under condition 2.
        passed: Whether the maps do what they should; ``None`` if there is no rule to pass (figures only), or too little to judge by.
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
        """``passed``, ``FAILED``, ``undecided``, ``too few to tell`` or ``figures only``.

        ``undecided`` is what was not judged, ``too few to tell`` a check of under 4 classes, ``figures only`` a check
        without a rule.
        """
        return verdict(self.name, self.passed, self.explanation)

    @property
    def conditions(self) -> dict[str, dict[str, float]]:
        """The figures named ``MEASURE_at_CONDITION`` as condition -> measure -> value, for a table.

        An example is ``{"2": {"hog": 0.1}}``.
        """
        table: dict[str, dict[str, float]] = {}
        for key, value in self.figures.items():
            name, at, condition = key.partition("_at_")
            if at:
                table.setdefault(condition, {})[name] = value
        return table

    @property
    def columns(self) -> list[str]:
        """Column names of a table of :attr:`conditions`: every measure, once, in order of appearance."""
        return list(dict.fromkeys(name for figures in self.conditions.values() for name in figures))

    @property
    def plain(self) -> dict[str, float]:
        """The figures whose names have no ``_at_``, which belong to no condition."""
        return {key: value for key, value in self.figures.items() if "_at_" not in key}

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a dictionary for ``checks.json``, in which the explanation is called ``reading``."""
        facts = asdict(self)
        return {"reading" if key == "explanation" else key: value for key, value in facts.items()}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> "Finding":
        """Return the Finding of an entry of ``checks.json``, whose reader has checked the types.

        Raises:
            KeyError: an attribute is missing.
        """
        return cls(facts["name"], facts["figures"], facts["passed"], facts["reading"], facts["cost"])


def judged(
    name: str,
    figures: dict[str, float],
    maps: int,
    passed: "bool | None",
    facts: str,
    if_passed: str,
    if_failed: str,
    what: str = "classes",
    *,
    beyond_chance: "Collection[bool | None]" = (),
) -> Finding:
    """Return a Finding, explained by ``facts`` and by what ``passed`` means.

    With fewer than 4 ``maps`` it is neither passed nor failed.

    Args:
        name: Name of the check.
        figures: What was measured.
        maps: Maps of different classes that it judges by: two of the same class, or of sets that share one, count once.
        passed: What the check's rule says; ``None`` if it cannot say.
        facts: The figures in words.
        if_passed: What they mean if the check is passed.
        if_failed: What they mean if it is failed.
        what: What the maps are of, in the plural: :attr:`Words.several`.
        beyond_chance: :attr:`MapPredictions.beyond_chance` of all that the rule is about.
    """
    if maps < FEWEST:
        return Finding(name, figures, None, f"{facts} {TOO_FEW}: check at least {FEWEST} {what}.")
    advice = CHANCE_ADVICE if None in beyond_chance else RECOGNITION_ADVICE
    meaning = {True: if_passed, False: if_failed, None: advice.format(what=what)}[passed]
    return Finding(name, figures, passed, f"{facts} {meaning}")


def two_decimals(value: float) -> str:
    """Return a number as text with two decimals, ``0.00`` and never ``-0.00``."""
    return f"{round(value, 2) + 0.0:.2f}"


def all_of(*parts: "bool | None") -> "bool | None":
    """Combine conditions: False if any is False, else ``None`` if any is ``None``, else True.

    ``None`` is a condition that is not known.
    """
    if False in parts:
        return False
    return None if None in parts else True
