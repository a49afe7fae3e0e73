"""Pieces of HTML with which a notebook displays results: the macros of ``templates/notebook.html``, filled in."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from PIL import Image

from phosphene.formats import rate_text
from phosphene.image_files import encode, to_data_url
from phosphene.markup import environment

# A notebook is not a report: images beyond this number are counted, not shown.
MOST_IMAGES = 48
CURVE_WIDTH, CURVE_HEIGHT = 120, 28


@dataclass(frozen=True)
class Cell:
    """A table cell for a notebook's HTML: its text, and the strength of its background colour in [0, 1].

    Attributes:
        text: Content of the cell.
        heat: Strength of its background colour, in [0, 1]; the colour only repeats the text.
    """

    text: str
    heat: float = 0.0


@functools.cache
def _macros() -> Any:
    """Load the template ``notebook.html`` once and return its Jinja macros as attributes of one object."""
    return environment("phosphene").get_template("notebook.html").module


def piece(name: str, *content: object) -> Markup:
    """Return the HTML of a macro of ``notebook.html``, by name (such as ``table``), filled with ``content``; plain text is escaped."""
    filled: Markup = getattr(_macros(), name)(*content)
    return filled


def rate_cell(value: "float | None", interval: "tuple[float, float] | None", classes: int) -> "Cell | str":
    """Return a rate with its 95 % interval and, unless 0, the number of classes; ``-`` if it is ``None``."""
    if value is None or interval is None:
        return "-"
    return Cell(rate_text(value, interval) + (f" among {classes:,}" if classes else ""), value)


def image(content: Image.Image, alt: str, side: int = 160) -> Markup:
    """Return an HTML ``img`` element of a PIL image, shown ``side`` pixels wide, as WebP data reduced to at most twice that size."""
    if max(content.size) > 2 * side:
        content = content.copy()
        content.thumbnail((2 * side, 2 * side))
    return piece("image", to_data_url(encode(content, "WEBP", quality=90), "webp"), alt, side)


def curve(values: Sequence[float], name: str) -> Markup:
    """Return a small SVG line chart of values in order, whose tooltip has ``name``, first and last value; empty for fewer than two."""
    if len(values) < 2:
        return Markup()
    top, low = max(values), min(values)
    span = (top - low) or 1.0
    points = " ".join(
        f"{k / (len(values) - 1) * CURVE_WIDTH:.1f},{(top - value) / span * CURVE_HEIGHT:.1f}"
        for k, value in enumerate(values)
    )
    label = f"{name}: from {values[0]:.3g} to {values[-1]:.3g}"
    return piece("curve", points, label, CURVE_WIDTH, CURVE_HEIGHT)
