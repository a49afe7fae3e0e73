"""``phosphene models``: what can be loaded as it stands."""

import click

from phosphene.cli import options
from phosphene.sources import list_specs


@click.command("models", context_settings={"help_option_names": ["-h", "--help"]})
@options.as_json
def command(as_json: bool) -> None:
    """List the models that can be loaded as they stand. Your own need a card: see docs/cards.md."""
    rows = list_specs()
    if as_json:
        options.print_json([{"spec": spec, "description": text} for spec, text in rows])
        return
    for spec, text in rows:
        click.echo(f"{spec:<22} {text}")
    click.echo(f"{'path/to/card.toml':<22} your own network: docs/cards.md says what a card holds")
