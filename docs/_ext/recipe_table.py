"""``<!-- recipe fields -->`` becomes a table of the recipe's fields: meaning, range, and every recipe's value."""

import dataclasses

from sphinx.application import Sphinx

from phosphene.recipe import RECIPES, Recipe

MARK = "<!-- recipe fields -->"


def table() -> str:
    """Return the table as Markdown."""
    names = list(RECIPES)
    rows = [["field", "meaning", "must be", *names], ["---"] * (3 + len(names))]
    for field in dataclasses.fields(Recipe):
        if field.name == "name":
            continue
        values = [f"`{getattr(recipe, field.name)}`" for recipe in RECIPES.values()]
        values = ["" if value == "``" else value for value in values]
        meaning = field.metadata["meaning"].replace("|", "\\|")
        rows.append([f"`{field.name}`", meaning, field.metadata["wants"], *values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the table where the mark stands."""
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, table())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
