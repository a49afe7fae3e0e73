"""A verdict as it shows itself in a notebook, and as a figure."""

from typing import TYPE_CHECKING

from phosphene import notebook
from phosphene.backdoor.pictures import trigger_image
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.backdoor.verdict import Verdict
    from phosphene.plots import Plot

MOST_CLASSES = 20


def html_of(verdict: "Verdict") -> str:
    """Return verdict, reasons and triggers as a small piece of HTML."""
    facts = notebook.facts(
        [
            ("verdict", verdict.verdict),
            ("p", f"{verdict.p_value:.2g} (alpha {verdict.alpha:g})"),
            ("why", " ".join(verdict.reasons)),
            ("model", f"{verdict.model}, {verdict.num_classes} classes"),
            ("samples", verdict.samples),
            ("not tested", " ".join(verdict.not_tested)),
        ]
    )
    figures = [
        notebook.figure(
            notebook.image(trigger_image(one.recovered), f"trigger of {one.label}"),
            notebook.text(first_synonym(one.label)),
            notebook.text(f"{one.recovered.success:.0%} of {one.recovered.tried} held-out samples"),
        )
        for one in verdict.suspects
        if one.recovered is not None
    ]
    return f"<div>{facts}{notebook.row(figures) if figures else ''}</div>"


def plot_of(verdict: "Verdict") -> "Plot":
    """Draw a bar a class, as long as 1 minus its p-value; suspects are dark.

    Raises:
        ExtraError: matplotlib is not installed.
    """
    from phosphene import plots  # noqa: PLC0415  (matplotlib is optional)

    rows = verdict.classes[:MOST_CLASSES]
    suspects = {one.index for one in verdict.suspects}
    names = [f"{first_synonym(row.label)} ({row.index})" for row in rows]
    marks = [row.index in suspects for row in rows]
    values = [1 - row.p_value for row in rows]
    return plots.bars(names, values, "1 - p", f"{verdict.model}: {verdict.verdict}", marks)
