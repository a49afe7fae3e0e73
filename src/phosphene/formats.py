"""Numbers as every page, table and message writes them."""

from collections.abc import Sequence

# Where a map of a regression output is right: above this percentile of the samples, or for ``low:`` below the 1st.
BEYOND = "beyond the 99th percentile"
# What counts in place of top-1 if the target's outputs are independent.
MULTI_LABEL_RATE = "own p above 0.5"
# How contrasts are judged; half of them are right by chance.
TOP1_OF_SIDES = "top-1, the two sides"


def percent(share: float) -> str:
    """Return a share in [0, 1] as text, ``42 %``; only 0 and 1 are ``0 %`` and ``100 %``."""
    if 0 < share <= 0.005:  # Python rounds half a percent to 0
        return "< 1 %"
    if 0.995 <= share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def targeting_text(rate: "float | None") -> str:
    """Return a targeting rate as text, ``42 %``; ``none to move`` for ``None``.

    It is ``None`` where all samples are classified as the class anyway.
    """
    return "none to move" if rate is None else percent(rate)


def rate_text(value: float, interval: tuple[float, float]) -> str:
    """Return a share and its interval as text in percent: ``90 % [81, 95]``."""
    return f"{percent(value)} [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"


def probability(p: float) -> str:
    """Return a probability as text, ``42 %``, but never ``0 %`` or ``100 %``, which a softmax does not reach."""
    return "> 99 %" if p >= 0.995 else "< 1 %" if p <= 0.005 else percent(p)


def exact(value: float) -> str:
    """Return a number as the shortest text that stands for exactly this number, ``1`` and ``0.0123456789``, as commands take it."""
    return repr(float(value)).removesuffix(".0")


def heat(value: float, least: float = 0.0) -> int:
    """Return how strongly to colour a table cell, in percent: 0 for ``least`` or below, 100 for 1."""
    return round(100 * min(max((value - least) / (1 - least), 0.0), 1.0))


def count(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun as text, ``1 map`` or ``12 maps``; ``several`` is an irregular plural."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def told_apart(names: Sequence[tuple[str, ...]]) -> list[str]:
    """Return names of (name, detail, ...), each with those details in parentheses in which others of the same name differ."""
    texts = []
    for name, *details in names:
        same, told = [one for one in names if one[0] == name], list[str]()
        for place, detail in enumerate(details, start=1):
            alike = [one for one in same if one[place] == detail]
            told += [detail] if detail and len(alike) < len(same) else []
            same = alike
        texts.append(f"{name} ({', '.join(told)})" if told else name)
    return texts
