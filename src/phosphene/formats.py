"""Numbers as every page, table and message writes them."""


def percent(share: float) -> str:
    """Write a share in [0, 1]; only 0 and 1 themselves are written as ``0 %`` and ``100 %``."""
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 <= share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def probability(p: float) -> str:
    """Write a probability: a softmax never reaches 0 or 1, even if its rounding does."""
    return "> 99 %" if p >= 0.995 else "< 1 %" if p < 0.005 else percent(p)


def heat(value: float, least: float = 0.0) -> int:
    """Return the strength of a cell's colour in percent: 0 at the least possible value, 100 at 1."""
    return round(100 * min(max((value - least) / (1 - least), 0.0), 1.0))


def count(number: int, one: str, several: str = "") -> str:
    """Write ``1 map`` or ``12 maps``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
