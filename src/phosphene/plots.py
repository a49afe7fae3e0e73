"""Figures of results, for papers and notebooks: matplotlib without pyplot, so no global state and no window.

Importing this module needs matplotlib (``pip install 'phosphene[plot]'``); methods called ``plot`` import it when they
are called.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from phosphene.errors import printable
from phosphene.extras import require

require("matplotlib.figure", "plot")
from matplotlib.figure import Figure  # noqa: E402  (the line above names the fix where it is missing)

# More pictures than this make a figure that no page holds.
MOST_PICTURES = 100


class Plot(Figure):
    """A matplotlib figure that shows itself in a notebook, although no pyplot knows of it."""

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.savefig(data, format="png", dpi=72)
        return data.getvalue()


def concept(
    picture: Image.Image, nu: "np.ndarray[Any, Any]", xi: "np.ndarray[Any, Any]", loss: Sequence[float], title: str
) -> Plot:
    """Draw one map: the picture, ``nu`` as signed heat, ``Xi``, and the loss.

    Args:
        picture: The visualisation.
        nu: Mean over the channels, (h, w), in units of pixels in [0, 1].
        xi: (h, w), in [0, 1].
        loss: Mean cross-entropy at every step.
        title: Above all of it.
    """
    figure = Plot(figsize=(11, 3), layout="constrained")
    figure.suptitle(plain(title))
    first, second, third, fourth = figure.subplots(1, 4)
    _show(first, picture, "picture")
    reach = float(np.abs(nu).max()) or 1.0
    heat = second.imshow(nu, cmap="RdBu_r", vmin=-reach, vmax=reach)
    second.set_title("nu, mean of channels", fontsize=9)
    figure.colorbar(heat, ax=second, shrink=0.75)
    third.imshow(xi, cmap="gray", vmin=0, vmax=1)
    third.set_title("Xi", fontsize=9)
    for axes in (second, third):
        axes.set_axis_off()
    fourth.plot(range(1, len(loss) + 1), loss, linewidth=1)
    fourth.set_title("loss", fontsize=9)
    fourth.set_xlabel("step")
    fourth.set_ylabel("cross-entropy")
    fourth.set_ylim(bottom=0)
    return figure


def gallery(pictures: Sequence[Image.Image], captions: Sequence[str], columns: int = 6) -> Plot:
    """Draw pictures in a grid with a caption above each."""
    pictures, captions = pictures[:MOST_PICTURES], captions[:MOST_PICTURES]
    columns = max(1, min(columns, len(pictures)))
    rows = max(1, math.ceil(len(pictures) / columns))
    figure = Plot(figsize=(1.9 * columns, 2.1 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, picture, caption in zip(places, pictures, captions, strict=False):
        _show(axes, picture, caption)
    return figure


def bars(names: Sequence[str], values: Sequence[float], label: str, title: str, marks: Sequence[bool]) -> Plot:
    """Draw a bar a name, lengths in [0, 1]; those that are not marked are pale."""
    figure = Plot(figsize=(6, 1 + 0.28 * max(len(names), 2)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(range(len(names)), values, color="tab:blue")
    for bar, marked in zip(drawn, marks, strict=True):
        bar.set_alpha(1.0 if marked else 0.35)
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(label)
    axes.set_title(plain(title), fontsize=10)
    return figure


def matrix(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], title: str) -> Plot:
    """Draw numbers in [0, 1] as a heat map with the numbers in it."""
    figure = Plot(figsize=(2.2 + 1.2 * len(columns), 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.array(values), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [plain(name) for name in columns])
    axes.set_yticks(range(len(rows)), [plain(name) for name in rows])
    for line, numbers in enumerate(values):
        for column, value in enumerate(numbers):
            axes.text(column, line, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
    axes.set_title(plain(title), fontsize=10)
    return figure


def plain(words: str) -> str:
    """Return a label as matplotlib should write it: on one line, and a dollar sign is no mathematics."""
    return printable(words).replace("$", r"\$")


def _show(axes: Any, picture: Image.Image, caption: str) -> None:
    grey = picture.mode != "RGB"
    axes.imshow(np.asarray(picture), **({"cmap": "gray", "vmin": 0, "vmax": 255} if grey else {}))
    axes.set_axis_off()
    axes.set_title(plain(caption), fontsize=9)
