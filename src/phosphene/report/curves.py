"""Curves of the report: points of small SVG lines, and what they say in words."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300, 80
# A line has no more points than one can see.
MOST_POINTS = 150


@dataclass(frozen=True)
class Curve:
    """A line that a template draws.

    Attributes:
        points: For an SVG polyline in a box of 300 by 80; its bottom is 0.
        top: What the upper edge stands for.
        steps: How many values there were.
        words: The same for those who do not see it.
    """

    points: str
    top: str
    steps: int
    words: str


def curve(values: Sequence[float], name: str, *, top: "float | None" = None, share: bool = False) -> "Curve | None":
    """Return the line of ``values``, one a step, or ``None`` for fewer than two.

    Args:
        values: 0 or more each; long lines are averaged over neighbours.
        name: What they are.
        top: The upper edge; the largest value by default.
        share: Whether they are shares, written in percent.
    """
    if len(values) < 2:
        return None
    size = -(-len(values) // MOST_POINTS)
    means = [sum(part) / len(part) for part in (values[k : k + size] for k in range(0, len(values), size))]
    edge = top if top is not None else max(*means, 1e-9)
    last = max(len(means) - 1, 1)
    points = " ".join(f"{k / last * WIDTH:.1f},{(1 - value / edge) * HEIGHT:.1f}" for k, value in enumerate(means))
    written = [f"{value:.0%}" if share else f"{value:.3g}" for value in (values[0], values[-1], edge)]
    return Curve(points, written[2], len(values), f"{name}: from {written[0]} to {written[1]} in {len(values)} steps")
