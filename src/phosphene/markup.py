"""HTML templates, in which every value is escaped."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from phosphene.errors import printable


def environment(*packages: str) -> Environment:
    """Return the environment of the templates of packages: everything is escaped, and no variable may be missing.

    A template of a package hides those of the same name of the packages after it.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=select_autoescape(default=True),
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _printable(value: Any) -> Any:
    """Remove from names and labels what could reverse the direction of the text; escaping comes after."""
    odd = isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable()
    return printable(value) if odd else value
