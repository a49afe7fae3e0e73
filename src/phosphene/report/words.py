"""Numbers in words that nobody has to look up."""


def percent(share: float) -> str:
    """Write a share; what is not quite all or nothing is not written as all or nothing."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def probability(p: float) -> str:
    """Write a probability: a softmax is never sure, even where its rounding is."""
    return "> 99 %" if p >= 0.995 else "< 1 %" if p < 0.005 else f"{100 * p:.0f} %"


def count(number: int, one: str, several: str = "") -> str:
    """Write ``1 map`` or ``12 maps``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
