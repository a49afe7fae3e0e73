"""``phosphene card``: write the card of a model, from which the same model can be loaded again."""

from pathlib import Path

import click

from phosphene.cli import options
from phosphene.errors import CardError
from phosphene.runs.atomic import write_bytes
from phosphene.sources import load
from phosphene.sources.card import card_files


@click.command("card", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), help="Path of the card.  [NAME.toml, from the model's name]")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Path of the weights, .safetensors.  [NAME.safetensors beside the card]",
)
@options.trust
@options.as_json
def command(model: str, out: "Path | None", weights: "Path | None", trust: bool, as_json: bool) -> None:
    """Write a card, with weights as safetensors, that loads the same classifier as MODEL."""
    classifier = load(model, trust=trust)
    name = "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in classifier.name).lstrip(".-")
    card = out or Path(f"{name or 'model'}.toml")
    if card.suffix != ".toml":
        raise CardError(f"a card is a .toml file: --out {card.with_suffix('.toml')}.")
    files = card_files(classifier, card.absolute(), (weights or card.with_suffix(".safetensors")).absolute())
    for file in files:
        if file.exists():
            raise CardError(f"{file} exists already: choose another path with --out.")
    for file, data in files.items():
        write_bytes(file, data)
    again = load(card, trust=trust)
    if again.sha256 != classifier.sha256:
        raise CardError(f"{card} does not load the same classifier as {model}: it has state that no card can hold.")
    if as_json:
        options.print_json(
            {"card": str(card), "files": [str(file) for file in files], "model": model, "sha256": again.sha256}
        )
        return
    click.echo(f"{card}: {again.name}, {again.num_classes} classes, weights {again.sha256[:16]}")
