"""``phosphene layers``: the layers of a network whose units can be mapped."""

import dataclasses

import click

import phosphene as ph
from phosphene.cli import options


@click.command("layers")
@click.argument("model")
@options.trust
@options.as_json
def command(model: str, trust: bool, as_json: bool) -> None:
    """Print the layers of MODEL whose units can be mapped, in the order in which an image passes them, with their output shapes.

    A map of a channel of one of them is made by `phosphene map MODEL -c unit:LAYER:CHANNEL`.
    """
    layers = ph.layers(model, trust=trust)
    if as_json:
        options.print_json([dataclasses.asdict(layer) for layer in layers])
        return
    name_width, kind_width = (
        max(len(row) for row in rows) for rows in zip(*((layer.name, layer.kind) for layer in layers), strict=True)
    )
    for layer in layers:
        click.echo(
            f"{layer.name:<{name_width}}  {layer.kind:<{kind_width}}  {' x '.join(map(str, layer.shape)):<14} "
            f"{layer.units:,} units"
        )
