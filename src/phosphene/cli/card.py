"""``phosphene card``: write the card of a model, from which the same model can be loaded again."""

from pathlib import Path
from typing import Any

import click

import phosphene as ph
from phosphene.cli import options


@click.command("card")
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), help="Path of the card.  [NAME.toml, from the model's name]")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Path of the weights, .safetensors.  [NAME.safetensors beside the card]",
)
@options.trust
@options.as_json
def command(model: str, as_json: bool, **options_of_card: Any) -> None:
    """Write a card (TOML) with weights and labels that loads the same classifier as MODEL; print the card's path and what it loads."""
    card = ph.card(model, **options_of_card)
    loaded, files = card.classifier, [str(file) for file in card.files]
    if as_json:
        options.print_json({"card": str(card.path), "files": files, "model": model, "sha256": loaded.sha256})
        return
    click.echo(f"{card.path}: {loaded.name}, {loaded.num_classes} classes, weights {loaded.sha256[:16]}")
