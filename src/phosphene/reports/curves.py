"""Curves of the report: points of small SVG lines, and a description in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from phosphene.formats import percent

WIDTH, HEIGHT = 300, 80
# More points than this cannot be seen.
MOST_POINTS = 150


@dataclass(frozen=True)
class Curve:
    """A line chart that a template draws as SVG.

    Attributes:
        points: Points of an SVG polyline in a box of 300 by 80; its bottom is the value 0.
        top: The value at the upper edge.
        steps: How many values there were.
        words: A description for screen readers.
    """

    points: str
    top: str
    steps: int
    words: str


def curve(values: Sequence[float], name: str, *, share: bool = False) -> "Curve | None":
    """Return a Curve of ``values``; ``None`` for fewer than two.

    Args:
        values: 0 or more each; neighbours in long lines are averaged.
        name: Name of the values, for the description.
        share: Whether they are shares, written in percent, up to 1; else up to the largest value.
    """
    if len(values) < 2:
        return None
    size = -(-len(values) // MOST_POINTS)
    means = [sum(part) / len(part) for part in (values[k : k + size] for k in range(0, len(values), size))]
    edge = 1.0 if share else max(*means, 1e-9)
    last = len(means) - 1
    points = " ".join(f"{k / last * WIDTH:.1f},{(1 - value / edge) * HEIGHT:.1f}" for k, value in enumerate(means))
    start, end, top = (percent(value) if share else f"{value:.3g}" for value in (values[0], values[-1], edge))
    return Curve(points, top, len(values), f"{name}: from {start} to {end} in {len(values)} steps")
