"""``phosphene card``: write the card of a model, from which the same model can be loaded again."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import phosphene as ph
from phosphene.cli import options


def numbers(kind: type) -> Callable[..., Any]:
    """Return a click callback that turns text such as ``48x192`` or ``0.5,0.5`` into a tuple of ``kind``; one int alone stays an int."""

    def read(_: click.Context, option: click.Parameter, text: "str | None") -> Any:
        """Return an option's text, split at ``x`` and commas, as numbers of type ``kind``; ``None`` if not given; or BadParameter."""
        try:
            values = None if text is None else tuple(kind(one) for one in re.split("[x,]", text))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not {option.metavar}.") from None
        return values[0] if values and kind is int and len(values) == 1 else values

    return read


@click.command("card")
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), help="Path of the card.  [NAME.toml, from the model's name]")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Path of the weights, .safetensors.  [NAME.safetensors beside the card]",
)
@click.option(
    "--size", callback=numbers(int), metavar="SIDE|HxW", help="Of a bare file: height and width of its input."
)
@click.option("--mean", callback=numbers(float), metavar="M,M,M", help="Of a bare file: mean of pixels in [0, 1].  [0]")
@click.option("--std", callback=numbers(float), metavar="S,S,S", help="Of a bare file: their deviation.  [1]")
@click.option("--labels", type=click.Path(path_type=Path), help="Of a bare file: its labels, one per line or JSON.")
@click.option("--arch", help="Of bare weights: torchvision:NAME or timm:NAME.")
@click.option("--factory", help="Of bare weights: FILE.py:FUNCTION that builds the network.")
@click.option("--output", help="Of a bare file: the kind of its output, or which of several.")
@options.trust
@options.as_json
def command(model: str, as_json: bool, **options_of_card: Any) -> None:
    """Write a card (TOML) that loads the same classifier as MODEL, and weights and labels beside it; print its path and what it loads.

    MODEL may be a bare file: .onnx, .pt2, TorchScript, or weights. Its card alone is written, drafted from the file and the flags.
    """
    card = ph.card(model, **options_of_card)
    loaded, files = card.classifier, [str(file) for file in card.files]
    if as_json:
        options.print_json({"card": str(card.path), "files": files, "model": model, "sha256": loaded.sha256})
        return
    if loaded.input.mean == (0.0,) * loaded.input.channels and loaded.input.std == (1.0,) * loaded.input.channels:
        doctor = ["phosphene", "doctor", str(card.path), "--samples", "FOLDER", *["--trust"] * loaded.trusted]
        click.echo(f"It takes pixels in [0, 1]. `{shlex.join(doctor)}` says if another range fits better.")
    click.echo(f"{card.path}: {loaded.name}, {loaded.num_classes} classes, weights {loaded.sha256[:16]}")
