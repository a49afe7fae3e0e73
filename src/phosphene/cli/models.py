"""``phosphene models``: the models that can be loaded by name."""

import click

from phosphene.cli import options
from phosphene.sources import FORMS, list_specs


@click.command("models", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("prefix", required=False)
@options.as_json
def command(prefix: "str | None", as_json: bool) -> None:
    """List the models that can be loaded by name; with PREFIX (torchvision, timm), those of that library.

    Your own models need a card: see docs/cards.md.
    """
    rows = list_specs(prefix) if prefix else list_specs()
    if as_json:
        options.print_json([{"spec": spec, "description": text} for spec, text in rows])
        return
    for spec, text in [*rows, *(() if prefix else FORMS.items())]:
        click.echo(f"{spec:<22} {text}")
