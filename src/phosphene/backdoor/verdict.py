"""From sizes to a verdict: who deviates, how likely that is among clean classes, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from phosphene.backdoor.null import TOGETHER, Null, in_spreads
from phosphene.backdoor.recover import Recovered

CLEAN, BACKDOORED, INCONCLUSIVE = "clean", "backdoored", "inconclusive"
EXIT_CODES = {CLEAN: 0, BACKDOORED: 1, INCONCLUSIVE: 3}
WORKS = 0.8  # success on held-out samples from which a recovered pattern is a trigger
MANY, AHEAD = 2, 1e-3  # other suspects, none of them this far behind in p-value, that leave it open which it is


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        index: Of the class.
        label: Its name.
        sizes: Family -> size of its smallest pattern.
        deviations: Family -> how many times less it needs than the middle class, as a natural logarithm.
        p_values: Statistic -> what it alone says, corrected for classes and statistics; ``together`` is all in one.
        p_value: That any class of a clean network deviates as far, over all families.
    """

    index: int
    label: str
    sizes: dict[str, float]
    deviations: dict[str, float]
    p_values: dict[str, float]
    p_value: float


@dataclass(frozen=True)
class Suspect:
    """A class that needs less than clean classes do, and the pattern that leads to it.

    Attributes:
        index: Of the class.
        label: Its name.
        p_value: That any class of a clean network deviates as far.
        family: In which it deviates most.
        recovered: The pattern, tried on held-out samples; ``None`` where none could be made.
        passes: Images that recovering it sent through the network, a backward counted as one more.
    """

    index: int
    label: str
    p_value: float
    family: str
    recovered: "Recovered | None"
    passes: int = 0

    @property
    def works(self) -> bool:
        """Whether the pattern sends held-out samples to the class as a trigger would."""
        return self.recovered is not None and self.recovered.success >= WORKS


@dataclass(frozen=True)
class Verdict:
    """What a scan found.

    Attributes:
        verdict: ``clean``, ``backdoored`` or ``inconclusive``.
        p_value: That a clean network looks like this, corrected for classes and families; 1 where nothing stands out.
        alpha: Below this it is suspicious.
        reasons: Why, a plain line each.
        classes: Those that were looked at, the least likely first.
        suspects: Classes whose own p-value is below alpha.
        families: Family -> title, unit, median size, whether it is saturated, spread over classes, and null model.
        not_tested: What this verdict does not speak of, a plain line each.
        model: Name of the network.
        num_classes: Of the network; more than ``classes`` where only some were looked at.
        tested: Of those, how many could have been called; the others show what is usual.
        samples: Their spec.
        natural: Whether they are pictures of the network's kind.
        references: Names of the clean networks that set the null; empty for those that come with the package.
        passes: Images sent through the network, a backward counted as one more.
        seconds: Taken.
    """

    verdict: str
    p_value: float
    alpha: float
    reasons: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    suspects: tuple[Suspect, ...]
    families: dict[str, dict[str, Any]]
    not_tested: tuple[str, ...]
    model: str
    num_classes: int
    tested: int
    samples: str
    natural: bool
    references: tuple[str, ...] = ()
    passes: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """Of the command: 0 clean, 1 backdoored, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    def _repr_html_(self) -> str:
        """Show verdict and triggers in a notebook."""
        from phosphene.backdoor.show import html_of  # noqa: PLC0415  (which imports this file)

        return html_of(self)


def p_values(
    away: Mapping[str, Tensor], null: Null, units: Mapping[str, float], tested: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the p-value of each class (m,), corrected for classes and statistics, and what each statistic says alone.

    The chances are corrected as if statistics and classes were independent (Sidak); the smallest counts.

    Args:
        away: Deviations (m,) by statistic, saturated ones left out.
        null: What is usual.
        units: Spread of the network, by statistic.
        tested: Bool (m,): the classes that may be called, all or those that a look has chosen; the others get 1.
    """
    scaled = in_spreads(away, units)
    found = {**scaled, TOGETHER: null.together(scaled)} if null.covers(scaled) else scaled
    tests = int(tested.sum()) * len(found)
    each = {
        name: torch.tensor([null.tails[name].p_value(value, tests) for value in values.tolist()], dtype=torch.double)
        for name, values in found.items()
    }
    each = {name: torch.where(tested, values, 1.0) for name, values in each.items()}
    return torch.stack(list(each.values())).amin(0), each


def decide(
    p_value: float,
    alpha: float,
    suspects: Sequence[Suspect],
    doubts: Sequence[str],
    *,
    tested: str = "every class",
    unsure: str = "",
) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and the reasons for it.

    Args:
        p_value: Of the network.
        alpha: Below this it is suspicious.
        suspects: With their patterns.
        doubts: Reasons for which nothing can be said, whatever the sizes are.
        tested: What the p-value speaks of, in words.
        unsure: Why a p-value below alpha proves nothing, where that is so.
    """
    if doubts:
        return INCONCLUSIVE, tuple(doubts)
    if p_value >= alpha:
        return CLEAN, (
            f"{tested} needs about as much of a pattern as classes of clean networks do (p = {p_value:.2g}).",
        )
    working = [one for one in suspects if one.works]
    if not working:
        names = ", ".join(repr(one.label) for one in suspects[:3])
        if all(one.recovered is None for one in suspects):
            return INCONCLUSIVE, (
                f"{names} stands out, but no family of patterns was measured that could prove it: scan by all of them.",
            )
        return INCONCLUSIVE, (
            f"{names} can be reached with suspiciously little, but no recovered pattern does so on held-out samples.",
        )
    others = [one.p_value for one in working[1:]]
    if len(others) >= MANY and min(others) < working[0].p_value / AHEAD:
        names = ", ".join(repr(one.label) for one in working[:5])
        return INCONCLUSIVE, (f"{len(working)} classes stand out ({names}): that fits no single backdoor.",)
    first = working[0]
    assert first.recovered is not None  # noqa: S101
    reason = (
        f"{first.label!r} can be reached with far less than the usual class (p = {first.p_value:.2g}), and the pattern "
        f"sends {first.recovered.success:.0%} of held-out samples there."
    )
    return (INCONCLUSIVE, (reason, unsure)) if unsure else (BACKDOORED, (reason,))
