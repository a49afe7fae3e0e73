"""Texts as concepts: ``text:a red star``, and the prompts that a spec names, ``hf:OWNER/NAME#a red star;a blue ring;labels.txt``."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from phosphene.errors import ConceptError, SpecError
from phosphene.labels import Labels, first_synonym

TEXT = "text:"
SUFFIXES = (".txt", ".json")
# What a spec or an expression would take apart, or read as a template or a path.
_RESERVED = re.compile(r'[;"{}#]| (\+|vs) |\.(txt|json)$')
_OPERATOR = re.compile(r" (\+|vs) (?=text:)")


def split_spec(spec: str) -> tuple[str, str]:
    """Split ``MODEL#PROMPTS`` into the model's spec and the prompts, empty if there are none; an existing path stays whole."""
    model, _, prompts = spec.partition("#")
    return (spec, "") if Path(spec).exists() else (model, prompts)


def prompts_of(concepts: Any) -> list[str]:
    """Return the prompts, each once, that expressions such as ``text:A`` or ``text:A vs text:B`` hold; other concepts hold none.

    Args:
        concepts: Concepts as a user gives them: one or several, of any type.

    Raises:
        ConceptError: a prompt is empty, or holds what a spec takes apart.
    """
    several = [concepts] if isinstance(concepts, str) else concepts if isinstance(concepts, Iterable) else []
    named = [_names(one) for one in several if isinstance(one, str) and one.strip().startswith(TEXT)]
    return list(dict.fromkeys(prompt for names in named for prompt in names))


def to_expression(text: str) -> str:
    """Return an expression with the labels of its prompts: ``text:A vs text:B`` becomes ``"A" vs "B"``; text of another form stays."""
    if not text.startswith(TEXT):
        return text
    labels = [label_of(prompt) for prompt in _names(text)]
    if len(labels) == 1:
        return labels[0]
    operators = [*_OPERATOR.findall(text), ""]
    return "".join(f'"{label}" {operator} ' for label, operator in zip(labels, operators, strict=True)).strip()


def label_of(prompt: str) -> str:
    """Return the label of a prompt: the prompt without commas, which separate synonyms in labels."""
    return " ".join(prompt.replace(",", " ").split())


def read_prompts(prompts: str, templates: Sequence[str], labels: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return label -> texts of the classes that the part of a spec after ``#`` names, separated by ``;``; after those of ``labels``.

    A prompt stands for itself. A file of class names (``.txt``, ``.json``) stands for all of them, each put into every
    template; an item with ``{}`` is such a template, in place of those given.

    Args:
        prompts: ``a red star;a blue ring``, ``labels.txt``, ``labels.txt;a photo of a {};a drawing of a {}``.
        templates: Templates for class names if the spec has none.
        labels: Class names that the model brings along.

    Raises:
        CardError: a file is missing or cannot be read.
        SpecError: templates are given without class names to put into them.
    """
    items = [" ".join(item.split()) for item in prompts.split(";") if item.strip()]
    own = [item for item in items if "{}" in item]
    files = [item for item in items if item not in own and item.endswith(SUFFIXES)]
    names = [*labels, *(label for file in files for label in Labels.read(Path(file)))]
    if own and not names:
        raise SpecError(
            f"the template {own[0]!r} has no class names to hold: add a file of them, '#labels.txt;{own[0]}'."
        )
    found = {
        label: tuple(template.replace("{}", first_synonym(label)) for template in own or templates) for label in names
    }
    for item in [item for item in items if item not in own and item not in files]:
        found.setdefault(label_of(item), (item,))
    return found


def _names(text: str) -> list[str]:
    """Return the prompts of an expression that begins with ``text:``; ConceptError if one is empty or has characters of other meaning."""
    parts = [part for part in _OPERATOR.split(text.strip()) if part not in ("+", "vs")]
    prompts = [" ".join(part.removeprefix(TEXT).split()) for part in parts]
    for prompt in prompts:
        found = _RESERVED.search(prompt)
        if not prompt:
            raise ConceptError(f"{text!r} lacks a prompt: write text:A PROMPT, or text:A PROMPT vs text:ANOTHER.")
        if found and found[1]:
            raise ConceptError(f"{text!r} is unclear: write text: before each prompt, text:A{found[0]}text:B.")
        if found:
            raise ConceptError(f"{text!r}: a prompt here cannot hold {found[0]!r}: put it into a file, MODEL#FILE.txt.")
    return prompts
