"""Pieces of HTML with which a notebook displays results.

Pure functions from plain values to text. The only colour is a transparent blue, and no script or style sheet is needed,
so that the pieces fit light and dark pages and stay intact when a notebook is sent to others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from phosphene.errors import printable
from phosphene.image_files import embedded, encode

# A notebook is not a report: images beyond this number are counted, not shown.
MOST_IMAGES = 48
LINE = "1px solid rgba(128,128,128,.35)"
CURVE_WIDTH, CURVE_HEIGHT = 120, 28


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: Content of the cell.
        heat: Strength of its background colour, in [0, 1]; the colour only repeats the text.
    """

    text: str
    heat: float = 0.0


def text(value: object) -> str:
    """Return a value as one line of escaped text."""
    return escape(printable(str(value)))


def image(content: Image.Image, alt: str, side: int = 160) -> str:
    """Return an ``img`` element with its data, ``side`` pixels wide."""
    if max(content.size) > 2 * side:
        content = content.copy()
        content.thumbnail((2 * side, 2 * side))
    url = embedded(encode(content, "WEBP", quality=90), "webp")
    return f'<img src="{url}" alt="{text(alt)}" width="{side}" style="display:block;margin:0">'


def figure(content: str, caption: str, note: str = "") -> str:
    """Put a caption, and a smaller note, below an image; all three are HTML."""
    small = f'<br><span style="opacity:.7">{note}</span>' if note else ""
    return (
        '<figure style="margin:0;max-width:11rem"><div>' + content + "</div>"
        f'<figcaption style="font-size:85%;line-height:1.35;text-align:left;margin-top:.2rem">{caption}{small}'
        "</figcaption></figure>"
    )


def row(pieces: Iterable[str]) -> str:
    """Lay pieces of HTML side by side, wrapped to the page."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:.9rem;align-items:flex-start">{"".join(pieces)}</div>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values."""
    lines = "".join(
        f'<tr><th scope="row" style="text-align:left;font-weight:normal;opacity:.7;padding:.05rem .8rem .05rem 0">'
        f'{text(name)}</th><td style="text-align:left;padding:.05rem 0">{text(value)}</td></tr>'
        for name, value in pairs
    )
    return f'<table style="border-collapse:collapse;font-size:90%;color:inherit;margin:0">{lines}</table>'


def table(head: Sequence[str], lines: Iterable[Sequence[Cell]]) -> str:
    """Return a table whose first column is the header of each row."""
    style = f"text-align:left;padding:.2rem .7rem;border-bottom:{LINE}"
    top = "".join(f'<th scope="col" style="{style}">{text(name)}</th>' for name in head)
    body = ""
    for first, *rest in lines:
        cells = "".join(
            f'<td style="{style};background:rgba(70,130,255,{0.45 * min(max(cell.heat, 0.0), 1.0):.2f})">'
            f"{text(cell.text)}</td>"
            for cell in rest
        )
        body += f'<tr><th scope="row" style="{style};font-weight:normal">{text(first.text)}</th>{cells}</tr>'
    return f'<table style="border-collapse:collapse;font-size:90%;color:inherit"><tr>{top}</tr>{body}</table>'


def curve(values: Sequence[float], name: str) -> str:
    """Draw values from left to right as a small line."""
    if len(values) < 2:
        return ""
    top, low = max(values), min(values)
    span = (top - low) or 1.0
    points = " ".join(
        f"{k / (len(values) - 1) * CURVE_WIDTH:.1f},{(top - value) / span * CURVE_HEIGHT:.1f}"
        for k, value in enumerate(values)
    )
    label = text(f"{name}: from {values[0]:.3g} to {values[-1]:.3g}")
    return (
        f'<svg role="img" aria-label="{label}" width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}" '
        f'viewBox="-1 -1 {CURVE_WIDTH + 2} {CURVE_HEIGHT + 2}"><title>{label}</title>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.2"/></svg>'
    )


def gallery(title: str, figures: Iterable[str], total: int) -> str:
    """Return a title, figures side by side, and how many of ``total`` are not shown."""
    shown = list(figures)
    more = f'<p style="opacity:.7;margin:.4rem 0 0">and {total - len(shown)} more</p>' if total > len(shown) else ""
    return f'<div><p style="margin:0 0 .5rem">{text(title)}</p>{row(shown)}{more}</div>'
