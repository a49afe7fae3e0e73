"""Small pieces of HTML with which results show themselves in a notebook.

Pure functions from plain values to text. No colour is named but a blue that carries its own transparency, and no
script or style sheet is needed, so the pieces fit light and dark pages and survive being mailed around.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from phosphene.errors import printable

# A notebook is not a report: images beyond this number are counted, not shown.
MOST_IMAGES = 48
LINE = "1px solid rgba(128,128,128,.35)"
CURVE_WIDTH, CURVE_HEIGHT = 120, 28


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says.
        heat: How much colour stands behind it, in [0, 1]; the colour only repeats the text.
    """

    text: str
    heat: float = 0.0


def text(value: object) -> str:
    """Escape what may come from anywhere, on one line."""
    return escape(printable(str(value)))


def image(picture: Image.Image, alt: str, side: int = 160) -> str:
    """Return an ``img`` that carries its picture, ``side`` pixels wide; small pictures keep their hard pixels."""
    data = io.BytesIO()
    if max(picture.size) > 2 * side:
        picture = picture.copy()
        picture.thumbnail((2 * side, 2 * side))
    picture.save(data, "WEBP", quality=90)
    url = "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
    return f'<img src="{url}" alt="{text(alt)}" width="{side}" style="display:block;margin:0">'


def figure(picture: str, caption: str, note: str = "") -> str:
    """Put a caption, and a smaller note, below a picture; all three are HTML already."""
    small = f'<br><span style="opacity:.7">{note}</span>' if note else ""
    return (
        '<figure style="margin:0;max-width:11rem"><div>' + picture + "</div>"
        f'<figcaption style="font-size:85%;line-height:1.35;text-align:left;margin-top:.2rem">{caption}{small}'
        "</figcaption></figure>"
    )


def row(pieces: Iterable[str]) -> str:
    """Lay pieces of HTML side by side, as many as fit."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:.9rem;align-items:flex-start">{"".join(pieces)}</div>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values, a line each."""
    lines = "".join(
        f'<tr><th scope="row" style="text-align:left;font-weight:normal;opacity:.7;padding:.05rem .8rem .05rem 0">'
        f'{text(name)}</th><td style="text-align:left;padding:.05rem 0">{text(value)}</td></tr>'
        for name, value in pairs
    )
    return f'<table style="border-collapse:collapse;font-size:90%;color:inherit;margin:0">{lines}</table>'


def table(head: Sequence[str], lines: Iterable[Sequence[Cell]]) -> str:
    """Return a table whose first column names its lines."""
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
    """Draw numbers from left to right as a small line, the highest at the top."""
    if len(values) < 2:
        return ""
    top, low = max(values), min(values)
    span = (top - low) or 1.0
    points = " ".join(
        f"{k / (len(values) - 1) * CURVE_WIDTH:.1f},{(top - value) / span * CURVE_HEIGHT:.1f}"
        for k, value in enumerate(values)
    )
    said = text(f"{name}: from {values[0]:.3g} to {values[-1]:.3g}")
    return (
        f'<svg role="img" aria-label="{said}" width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}" '
        f'viewBox="-1 -1 {CURVE_WIDTH + 2} {CURVE_HEIGHT + 2}"><title>{said}</title>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.2"/></svg>'
    )


def gallery(title: str, figures: Iterable[str], total: int) -> str:
    """Return a title, figures side by side, and how many are not shown."""
    shown = list(figures)
    more = f'<p style="opacity:.7;margin:.4rem 0 0">and {total - len(shown)} more</p>' if total > len(shown) else ""
    return f'<div><p style="margin:0 0 .5rem">{text(title)}</p>{row(shown)}{more}</div>'
