"""``phosphene doctor``: what works on this machine, and whether a model fits its declared input."""

from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import print_table
from phosphene.errors import printable


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False)
@click.option("--samples", metavar="SPEC", help="Images to try the model on; natural ones show most.")
@options.machine
@options.trust
@options.as_json
def command(model: "str | None", as_json: bool, **options_of_doctor: Any) -> None:
    """Report what works on this machine; with MODEL, whether the network fits its declared input."""
    facts = ph.doctor(model, **options_of_doctor)
    if as_json:
        options.print_json(facts)
        return
    rows = facts.pop("conventions", [])
    for key, value in facts.items():
        click.echo(f"{key.replace('_', ' '):<16} {printable(str(value))}")
    if rows:
        click.echo()
        print_table(_table(rows))


def _table(rows: "list[dict[str, Any]]") -> Table:
    """Lay out the network's outputs, a line per input convention; information and entropy are in nats."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    heads = [key for key in rows[0] if key != "declared" and any(row[key] is not None for row in rows)]
    for head in heads:
        table.add_column(head, justify="left" if head == "convention" else "right")
    for row in rows:
        cells = [f"{row[head]:g}" if isinstance(row[head], float) else str(row[head]) for head in heads]
        table.add_row(*map(Text, cells), style="bold" if row["declared"] else None)
    return table
