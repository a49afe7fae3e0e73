"""``phosphene compare``: two runs in, the classes whose maps changed most out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import print_table
from phosphene.errors import printable
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.metrics.compare import Change, Prediction
    from phosphene.workflows.compare import Comparison


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
    found = ph.compare(a, b, out=out)
    if as_json:
        options.print_json({**found.to_dict(), **({} if out is None else {"page": str(out)})})
        return
    heads = [found.noun, "change", "images", f"{found.p_name} in both" if found.same_network else "predictions"]
    if not found.same_network and any(one.a_by_b or one.b_by_a for one in found.changes):
        heads += ["B on A's maps", "A on B's maps"]
    for note in found.notes:  # first, because they say what the figures do not
        click.echo(printable(note), err=True)
    rows = [_change_row(found, one)[: len(heads)] for one in found.changes]
    print_table(heads, rows, numbers=range(1, 4))
    for labels, run in zip(found.only, found.runs, strict=True):
        if labels:
            names = ", ".join(map(first_synonym, labels[:8])) + (", ..." if len(labels) > 8 else "")
            click.echo(printable(f"only in {run}: {names}"))
    if out is not None:
        click.echo(f"open {out}")


def _change_row(found: "Comparison", one: "Change") -> list[str]:
    """Return a class's table row: label; change in all, of images, of predictions; how each run's source classifies the other's maps."""
    return [first_synonym(one.label), *found.cells(one), _prediction_text(one.a_by_b), _prediction_text(one.b_by_a)]


def _prediction_text(one: "Prediction | None") -> str:
    """Return mean p of the maps' class and the most frequent wrong class, ``p 0.31, 1 of 2 as lynx [9, 91 %]``; ``-`` if not scored."""
    if one is None:
        return "-"
    low, high = (100 * end for end in one.interval)
    wrong = f", {one.count} of {one.maps} as {one.instead} [{low:.0f}, {high:.0f} %]" if one.instead else ""
    return f"p {one.p_class:.2f}{wrong}"
