"""The form that starts a run: fields in, the arguments of a ``phosphene map`` command out."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from phosphene.errors import PhospheneError
from phosphene.recipe import DEFAULT_RECIPE, RECIPES

MOST_CHARACTERS, MOST_LINES, MOST_SEEDS = 1000, 2000, 1000
LONGEST_NAME = 80


class FormError(PhospheneError):
    """Raised for a form that cannot be acted on: a field is unusable, or its run cannot start now."""


@dataclass(frozen=True)
class MapCommand:
    """A ``phosphene map`` command that a form asks for: name of its run directory, arguments, model.

    Attributes:
        name: Directory of the run below the served folder.
        arguments: What follows ``phosphene map``, without ``--out``; the model comes last, after ``--``.
        model: The model spec.
    """

    name: str
    arguments: tuple[str, ...]
    model: str


def read_form(fields: Mapping[str, str], *, trust: bool) -> MapCommand:
    """Return the ``phosphene map`` command that the fields of a form ask for; FormError if one is unusable.

    Every value becomes one argument, joined to its option by ``=``, so that it cannot be an option of its own and no
    shell interprets it. The command itself validates the values. Sample folders may lie anywhere: those who can submit
    this form (see :mod:`phosphene.web.guard`) can read them anyway.

    Args:
        fields: model, concepts, every, recipe, set, seeds, seed, samples, name, trust.
        trust: Whether the server may start models that need trust.

    Raises:
        FormError: a field is empty, too long, or contains control characters.
    """
    model = _line(fields, "model", "The model")
    if not model:
        raise FormError("Enter a model, for example demo:shapes.")
    concepts = [f"--concept={one}" for one in _lines(fields, "concepts", "The concepts")]
    arguments = ["--all"] if fields.get("every") else concepts
    if not arguments:
        raise FormError("Enter concepts, one per line, or choose all classes.")
    recipe = _line(fields, "recipe", "The recipe") or DEFAULT_RECIPE
    changes = _lines(fields, "set", "The changes of the recipe")
    for one in changes:
        if "=" not in one:
            raise FormError(f"Write a change of the recipe as field=value, for example steps=60, not {one[:60]!r}.")
    samples = _line(fields, "samples", "The samples")
    arguments += [
        f"--recipe={recipe}",
        *(f"--set={one}" for one in changes),
        f"--seeds={_whole(fields, 'seeds', 'The number of seeds', 1, MOST_SEEDS, 1)}",
        f"--seed={_whole(fields, 'seed', 'The first seed', 0, 2**32 - 1, 0)}",
        *([f"--samples={samples}"] if samples else []),
        *(["--trust"] if fields.get("trust") else []),
    ]
    if fields.get("trust") and not trust:
        raise FormError("This server runs no code of a model: start it with `phosphene serve --trust`.")
    name = safe_name(_line(fields, "name", "The name") or default_name(model, recipe, changes, samples))
    if not name:
        raise FormError("The name needs letters or digits.")
    return MapCommand(name, (*arguments, "--", model), model)


def safe_name(text: str) -> str:
    """Return any text as the name of one directory: ASCII letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip(".-_").rstrip(".-")[:LONGEST_NAME].rstrip(".-")


def default_name(model: str, recipe: str, changes: "list[str]", samples: str) -> str:
    """Return a run's name from model and recipe; a short hash follows if recipe or samples are not the default."""
    plain = recipe in RECIPES and not changes and not samples
    suffix = "" if plain else "-" + hashlib.sha256(repr((recipe, changes, samples)).encode()).hexdigest()[:6]
    return safe_name(f"{model.removesuffix('.toml')[-50:]}-{recipe.removesuffix('.toml')[-20:]}") + suffix


def _line(fields: Mapping[str, str], key: str, what: str) -> str:
    """Return a field's text; FormError, which calls the field ``what``, unless it is one printable line."""
    text = fields.get(key, "").strip()
    if len(text) > MOST_CHARACTERS or not text.isprintable():
        raise FormError(f"{what} must be one line of at most {MOST_CHARACTERS:,} printable characters.")
    return text


def _lines(fields: Mapping[str, str], key: str, what: str) -> list[str]:
    """Return a field's distinct lines; FormError if they are too many or not printable."""
    lines = [line.strip() for line in fields.get(key, "").splitlines() if line.strip()]
    if len(lines) > MOST_LINES or any(len(line) > MOST_CHARACTERS or not line.isprintable() for line in lines):
        raise FormError(f"{what} must be at most {MOST_LINES:,} lines of printable characters.")
    return list(dict.fromkeys(lines))


def _whole(fields: Mapping[str, str], key: str, what: str, least: int, most: int, default: int) -> int:
    """Return a field's whole number, ``default`` for an empty one; FormError unless in ``least`` to ``most``."""
    text = fields.get(key, "").strip() or str(default)
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise FormError(f"{what} must be a whole number from {least} to {most:,}.")
    return int(text)
