"""The form that starts a run: fields in, the words of a ``phosphene map`` command out."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phosphene.errors import PhospheneError
from phosphene.recipe import DEFAULT_RECIPE, RECIPES

MOST_SIGNS, MOST_LINES, MOST_SEEDS = 1000, 2000, 1000
LONGEST_NAME = 80


class FormError(PhospheneError):
    """A field of the form that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Order:
    """A run to be started.

    Attributes:
        name: Its directory below the served folder.
        words: What follows ``phosphene map``, without ``--out``; the model is last, behind ``--``.
        model: The model spec.
    """

    name: str
    words: tuple[str, ...]
    model: str


def read_form(fields: Mapping[str, str], *, trust: bool) -> Order:
    """Turn the form into a command.

    Every value is one word of an argument list, joined to its option by ``=``, so that nothing in it is an option or
    is seen by a shell. What the values mean is for the command itself to judge. Sample folders may be anywhere: whoever
    may fill in this form may read them anyway (see :mod:`phosphene.web.guard` for who may).

    Args:
        fields: model, concepts, every, recipe, set, seeds, seed, samples, name, trust.
        trust: Whether the server may start models that need trust.

    Raises:
        FormError: a field is empty, too long, or holds control characters.
    """
    model = _line(fields, "model", "the model")
    if not model:
        raise FormError("Name a model, for example demo:shapes.")
    words: list[str] = []
    concepts = _lines(fields, "concepts", "the concepts")
    if fields.get("every"):
        words.append("--all")
    elif concepts:
        words += [f"--concept={one}" for one in concepts]
    else:
        raise FormError("Name concepts, one a line, or take all classes.")
    recipe = _line(fields, "recipe", "the recipe") or DEFAULT_RECIPE
    words.append(f"--recipe={recipe}")
    changes = _lines(fields, "set", "the recipe's changes")
    for one in changes:
        if "=" not in one:
            raise FormError(f"A change of the recipe reads field=value, for example steps=60; {one[:60]!r} does not.")
    words += [f"--set={one}" for one in changes]
    words.append(f"--seeds={_whole(fields, 'seeds', 'The number of seeds', 1, MOST_SEEDS, 1)}")
    words.append(f"--seed={_whole(fields, 'seed', 'The first seed', 0, 2**32 - 1, 0)}")
    samples = _line(fields, "samples", "the samples")
    if samples:
        words.append(f"--samples={samples}")
    if fields.get("trust"):
        if not trust:
            raise FormError("This server starts nothing that needs trust: start it with `phosphene serve --trust`.")
        words.append("--trust")
    wanted = _line(fields, "name", "the name")
    name = safe_name(wanted) if wanted else default_name(model, recipe, changes, samples)
    if not name:
        raise FormError("The name needs letters or digits.")
    return Order(name, (*words, "--", model), model)


def safe_name(text: str) -> str:
    """Turn what somebody typed into the name of one directory: ASCII letters, digits, dots, dashes, underscores."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip(".-_").rstrip(".-")[:LONGEST_NAME].rstrip(".-")


def default_name(model: str, recipe: str, changes: "list[str]", samples: str) -> str:
    """Name a run after its model and recipe; a short hash follows where the recipe or the samples were changed."""
    plain = recipe in RECIPES and not changes and not samples
    mark = "" if plain else "-" + hashlib.sha256(repr((recipe, changes, samples)).encode()).hexdigest()[:6]
    return safe_name(f"{model.removesuffix('.toml')[-50:]}-{recipe.removesuffix('.toml')[-20:]}") + mark


def _line(fields: Mapping[str, str], key: str, what: str) -> str:
    text = fields.get(key, "").strip()
    if len(text) > MOST_SIGNS or not text.isprintable():
        raise FormError(f"Cannot use {what}: one line of at most {MOST_SIGNS:,} printable signs is taken.")
    return text


def _lines(fields: Mapping[str, str], key: str, what: str) -> list[str]:
    lines = [line.strip() for line in fields.get(key, "").splitlines() if line.strip()]
    if len(lines) > MOST_LINES or any(len(line) > MOST_SIGNS or not line.isprintable() for line in lines):
        raise FormError(f"Cannot use {what}: at most {MOST_LINES:,} lines of printable signs are taken.")
    return list(dict.fromkeys(lines))


def _whole(fields: Mapping[str, str], key: str, what: str, least: int, most: int, default: int) -> int:
    text: Any = fields.get(key, "").strip() or str(default)
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise FormError(f"{what} must be a whole number from {least} to {most:,}.")
    return int(text)
