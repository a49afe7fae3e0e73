"""The forms that start commands: fields in, the words of a ``phosphene`` command line out."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phosphene.errors import PhospheneError
from phosphene.recipe import DEFAULT_RECIPE, RECIPES

MOST_CHARACTERS, MOST_LINES = 1000, 2000
LONGEST_NAME = 80

# The fields of each command's form.
FIELDS = {
    "map": ("model", "trust", "concepts", "every", "recipe", "seeds", "samples", "set", "seed", "name"),
    "scan": ("model", "trust", "samples", "reference", "seed", "name"),
    "check": ("run", "trust", "most", "samples"),
}
# Form of a concept beyond classes and expressions of them -> what a map of it shows
CONCEPT_FORMS = {
    "text:a red star": "a text, for a model that embeds texts, such as CLIP; also text:A + text:B, text:A vs text:B",
    "unit:LAYER:3": "a channel of a layer; unit:LAYER:3,7 for several, unit:LAYER:* for the most active ones",
    "direction:FILE@LAYER": "a direction in a layer, from a .npy, .npz, .pt or .safetensors file",
    "age, low:age": "high or low values of an output of a regression network",
}
TICKS = ("trust", "every")
SEVERAL_LINES = ("concepts", "set", "reference")
NUMBERS = {"seeds": (1, 1000, 1), "seed": (0, 2**32 - 1, 0), "most": (1, 1000, 4)}  # least, most, default
NO_OPTIONS = ("model", "run", "name")
OPTIONS = {"concepts": "concept", "every": "all"}  # the others are called like their fields


class FormError(PhospheneError):
    """Raised for a form that cannot be acted on.

    Attributes:
        faults: Field -> what is wrong with it; under ``""``, for example, that too many commands are running.
    """

    def __init__(self, faults: "Mapping[str, str] | str") -> None:
        self.faults = {"": faults} if isinstance(faults, str) else dict(faults)
        super().__init__(" ".join(self.faults.values()))


@dataclass(frozen=True)
class Command:
    """A ``phosphene`` command that a form asks for.

    Attributes:
        action: ``map``, ``scan`` or ``check``.
        name: Directory of its run below the served folder.
        values: Field -> value, of the fields of this action.
        fields: The form as it was filled in.
    """

    action: str
    name: str
    values: dict[str, Any]
    fields: dict[str, str]

    @property
    def subject(self) -> str:
        """What the command works on: the model spec, or the run that is checked."""
        return str(self.values.get("model", self.name))

    def words(self, run: Path) -> list[str]:
        """Return the words that follow ``phosphene`` on the command line, for the run directory ``run``.

        Every value is one word, joined to its option by ``=``, or stands after ``--``: it cannot be an option of its
        own, and no shell interprets it.
        """
        words = [self.action]
        for key, value in self.values.items():
            option = f"--{OPTIONS.get(key, key)}"
            if key in NO_OPTIONS or value in ("", False):  # 0 == False: the seed's default
                continue
            if value is True:
                words.append(option)
            else:
                words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
        return [*words, "--", str(run)] if self.action == "check" else [*words, f"--out={run}", "--", self.subject]


def read_form(fields: Mapping[str, str], *, trust: bool) -> Command:
    """Return the command that a form asks for; :mod:`phosphene.web.validate` tries the values.

    Paths may lie anywhere: those who can submit this form (see :mod:`phosphene.web.guard`) can read them anyway.

    Args:
        fields: ``action``, and those of ``FIELDS``.
        trust: Whether the server may start models that need trust.

    Raises:
        FormError: a field is missing, too long, no number, or contains control characters.
    """
    action = fields.get("action", "map")
    if action not in FIELDS:
        raise FormError(f"Choose one of {', '.join(FIELDS)}.")
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for key in FIELDS[action]:
        try:
            values[key] = _value(key, fields.get(key, ""))
        except FormError as error:
            faults[key] = str(error)
            values[key] = [] if key in SEVERAL_LINES else ""
    if action == "map":
        values["recipe"] = values["recipe"] or DEFAULT_RECIPE
        values["concepts"] = [] if values["every"] else values["concepts"]
    name = values["run"] if action == "check" else safe_name(values["name"] or default_name(action, values))
    faults = _field_faults(action, values, name) | faults
    if values["trust"] and not trust:
        faults["model"] = "This server runs no code of a model: start it with `phosphene serve --trust`."
    if faults:
        raise FormError(faults)
    return Command(action, name, values, {key: text for key, text in fields.items() if key != "token"})


def _field_faults(action: str, values: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return field -> message for fields that are empty and must not be, and for a recipe change (``set``) without ``=``."""
    if action == "check":
        return {} if name else {"run": "Choose a run."}
    found = {} if values["model"] else {"model": "Enter a model, for example demo:shapes."}
    if action == "map" and not values["concepts"] and not values["every"]:
        found["concepts"] = "Enter concepts, one per line, or choose all classes."
    for one in [one for one in values.get("set", []) if "=" not in one][:1]:
        found["set"] = f"Write a change of the recipe as field=value, for example steps=60, not {one[:60]!r}."
    return found if name else {"name": "The name needs letters or digits.", **found}


def _value(key: str, text: str) -> "str | list[str] | int | bool":
    """Return the value of the form's field ``key`` for a text, maybe empty; FormError if malformed."""
    if key in TICKS:
        return bool(text)
    if key in NUMBERS:
        return _whole(text.strip(), *NUMBERS[key])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(len(line) > MOST_CHARACTERS or not line.isprintable() for line in lines) or len(lines) > MOST_LINES:
        raise FormError(f"Enter printable characters, at most {MOST_CHARACTERS:,} per line and {MOST_LINES:,} lines.")
    if key in SEVERAL_LINES:
        return list(dict.fromkeys(lines))
    if len(lines) > 1:
        raise FormError("Enter one line.")
    return "".join(lines)


def _whole(text: str, least: int, most: int, default: int) -> int:
    """Return the whole number that a text stands for, ``default`` if it is empty; FormError unless it is in the range."""
    if not re.fullmatch(r"[0-9]{0,10}", text) or not least <= int(text or default) <= most:
        raise FormError(f"Enter a whole number from {least} to {most:,}.")
    return int(text or default)


def safe_name(text: str) -> str:
    """Return text as a directory's name, at most 80 ASCII letters, digits and ``.-_``; empty if it has no ASCII letter or digit."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip(".-_").rstrip(".-")[:LONGEST_NAME].rstrip(".-")


def default_name(action: str, values: Mapping[str, Any]) -> str:
    """Return the default name of a run: model and recipe, or model and ``scan``, and a short hash of what is not the default."""
    what = values.get("recipe", action)
    changes = (what, values.get("set", values.get("reference")), values["samples"])
    plain = (what in RECIPES or action == "scan") and not any(changes[1:])
    suffix = "" if plain else "-" + hashlib.sha256(repr(changes).encode()).hexdigest()[:6]
    return safe_name(f"{values['model'].removesuffix('.toml')[-50:]}-{what.removesuffix('.toml')[-20:]}") + suffix
