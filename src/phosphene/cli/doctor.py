"""``phosphene doctor``: what works on this machine, and whether a model fits its declared input."""

from typing import Any

import click
from rich.text import Text

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import print_table
from phosphene.errors import printable


@click.command("doctor")
@click.argument("model", required=False)
@click.option("--samples", metavar="SPEC", help="Images to try the model on; natural ones show most.")
@options.device
@options.precision
@options.trust
@options.as_json
def command(model: "str | None", as_json: bool, **options_of_doctor: Any) -> None:
    """Print what works on this machine (versions, devices, extras); with MODEL, also whether its declared input seems right."""
    facts = ph.doctor(model, **options_of_doctor)
    if as_json:
        options.print_json(facts)
        return
    rows = facts.pop("conventions", [])
    for key, value in facts.items():
        states = value if isinstance(value, dict) else {"": value}
        for name, state in states.items():
            title = f"extra {name}" if name else key.replace("_", " ")
            click.echo(f"{title:<18} {printable(str(state))}")
    if rows:
        click.echo()
        _print_conventions(rows)


def _print_conventions(rows: "list[dict[str, Any]]") -> None:
    """Print a table of input conventions (mean, std, channel order), with the declared one in bold.

    Each has its accuracy, information and so on. Information and entropy are in nats.
    """
    columns = [key for key in rows[0] if key != "declared" and any(row[key] is not None for row in rows)]
    table_rows = []
    for row in rows:
        cells = [f"{row[column]:g}" if isinstance(row[column], float) else str(row[column]) for column in columns]
        table_rows.append([Text(cell, "bold" if row["declared"] else "") for cell in cells])
    print_table(columns, table_rows)
