"""``phosphene compare``: two runs in, the classes whose maps changed most out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import print_table, print_text
from phosphene.errors import printable
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.metrics.compare import Prediction


@click.command("compare")
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page with the images.")
@options.as_json
def command(a: Path, b: Path, out: "Path | None", as_json: bool) -> None:
    """Compare the maps of two runs, A and B, class by class and print a table, the most changed classes first; write a page to --out.

    For two models, or one before and after fine-tuning, with at least two seeds each. A change is between 0 % (as similar as
    two seeds of one run) and 100 %. It is more reliable after `phosphene score` with both models as targets, which has each
    source classify the other's maps. Of one network in two runs no class has changed: its confidence in both is shown.
    """
    comparison = ph.compare(a, b, out=out)
    if as_json:
        options.print_json({**comparison.to_dict(), **({} if out is None else {"page": str(out)})})
        return
    columns = comparison.columns
    if not comparison.same_network and any(one.a_by_b or one.b_by_a for one in comparison.changes):
        columns += ["B on A's maps", "A on B's maps"]
    for note in comparison.notes:  # first, because they say what the figures do not
        print_text(note, err=True)
    rows = []
    for one in comparison.changes:
        predictions = _prediction_text(one.a_by_b), _prediction_text(one.b_by_a)
        rows.append([first_synonym(one.label), *comparison.cells(one), *predictions][: len(columns)])
    print_table(columns, rows, numbers=range(1, 4))
    for labels, run in zip(comparison.only, comparison.runs, strict=True):
        if labels:
            names = ", ".join(map(first_synonym, labels[:8])) + (", ..." if len(labels) > 8 else "")
            click.echo(printable(f"only in {run}: {names}"))
    if out is not None:
        click.echo(f"open {out}")


def _prediction_text(prediction: "Prediction | None") -> str:
    """Return mean p and the most frequent wrong class, ``p 0.31, 1 of 2 as lynx [9, 91 %]``; ``-`` if not scored."""
    if prediction is None:
        return "-"
    low, high = (100 * end for end in prediction.interval)
    wrong_class = (
        f", {prediction.count} of {prediction.maps} as {prediction.instead} [{low:.0f}, {high:.0f} %]"
        if prediction.instead
        else ""
    )
    return f"p {prediction.p_class:.2f}{wrong_class}"
