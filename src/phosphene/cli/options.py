"""Options that several commands share, and how their results are printed."""

import json
from collections.abc import Sequence
from typing import Any

import click

from phosphene.errors import ArgumentError, as_share, first_few, printable

FELL_SHORT = 4  # exit code of a command that is done, and whose results fall short of what was asked for

device = click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:1.")
precision = click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "fp32", "tf32", "bf16"]),
    help="Number format that the network computes in. auto: on a GPU bf16 for maps (from Ampere on), tf32 for scans and doctor; else fp32.",
)
compiled = click.option(
    "--compile",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "on", "off"]),
    help="Have torch compile the network, which takes minutes; auto: only on a GPU, and if there are enough maps.",
)
trust = click.option(
    "--trust", is_flag=True, help="Run code that comes with the model: factory file, .pt2, TorchScript, remote code."
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
)


def share(text: "str | float") -> float:
    """Return the value of an option that is a share, in [0, 1].

    Raises:
        BadParameter: it is something else.
    """
    try:
        return as_share(text)
    except ArgumentError as error:
        raise click.BadParameter(str(error)) from None


def exit_code(shortfalls: Sequence[str]) -> int:
    """Print what falls short, if anything does, as one line on stderr; return the exit code of the command: 4, or 0."""
    if not shortfalls:
        return 0
    click.echo(f"phosphene: fell short: {printable(first_few(shortfalls))}.", err=True)
    return FELL_SHORT


def print_json(data: Any, warnings: "Sequence[str] | None" = None) -> None:
    """Print ``data`` as an indented JSON document on stdout.

    If ``warnings`` are given, they are added to it, or to every element of a list.
    """
    if warnings is not None and isinstance(data, list):
        data = [{**one, "warnings": warnings} for one in data]
    elif warnings is not None:
        data = {**data, "warnings": warnings}
    click.echo(json.dumps(data, indent=1, ensure_ascii=False))
