"""HTML templates, in which every value is escaped."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from phosphene.errors import printable


def environment(*packages: str) -> Environment:
    """Return the Jinja environment for the templates of some packages.

    Values are escaped, and a missing variable is an error. A template of a package hides those of the same name of the
    packages after it.
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
    """Remove unprintable characters, some of which reverse the direction of writing, from a template value."""
    is_unprintable = isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable()
    return printable(value) if is_unprintable else value
