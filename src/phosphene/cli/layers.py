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
    found = ph.layers(model, trust=trust)
    if as_json:
        options.print_json([dataclasses.asdict(one) for one in found])
        return
    name, kind = (max(len(row) for row in rows) for rows in zip(*((one.name, one.kind) for one in found), strict=True))
    for one in found:
        click.echo(f"{one.name:<{name}}  {one.kind:<{kind}}  {' x '.join(map(str, one.shape)):<14} {one.units:,} units")
