"""A verdict as it shows itself in a notebook."""

from typing import TYPE_CHECKING

from phosphene import notebook
from phosphene.backdoor.pictures import trigger_image
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.backdoor.verdict import Verdict


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
