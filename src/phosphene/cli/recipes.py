"""``phosphene recipes``: the recipes, or one of them as TOML."""

import click

from phosphene.cli import options
from phosphene.recipe import DEFAULT_RECIPE, RECIPES, resolve


@click.command("recipes")
@click.argument("name", required=False)
@options.as_json
def command(name: "str | None", as_json: bool) -> None:
    """Print the recipes, one per line; with NAME, that one as TOML, which you can edit and pass as --recipe FILE.toml."""
    if name is not None:
        recipe = resolve(name)
        options.print_json(recipe.to_dict()) if as_json else click.echo(recipe.to_toml(), nl=False)
        return
    if as_json:
        rows = {key: {"description": recipe.description, **recipe.to_dict()} for key, recipe in RECIPES.items()}
        options.print_json(rows)
        return
    for key, recipe in RECIPES.items():
        click.echo(f"{key:<8} {recipe.description}{'  (default)' if key == DEFAULT_RECIPE else ''}")
