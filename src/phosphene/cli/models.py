"""``phosphene models``: the models that can be loaded by name."""

import click

import phosphene as ph
from phosphene.cli import options


@click.command("models")
@click.argument("prefix", required=False)
@options.as_json
def command(prefix: "str | None", as_json: bool) -> None:
    """Print the demo models and all forms that MODEL can take, one per line; with PREFIX (torchvision, timm), that library's models.

    Your own models need a card: see docs/cards.md.
    """
    rows = ph.list_specs(prefix) if prefix else ph.list_specs()
    if as_json:
        options.print_json([{"spec": spec, "description": text} for spec, text in rows])
        return
    for spec, text in [*rows, *(() if prefix else ph.SPEC_FORMS.items())]:
        click.echo(f"{spec:<22} {text}")
