"""Texts as concepts: ``text:a red star``, and the prompts that a spec names, ``hf:OWNER/NAME#a red star;a blue ring;labels.txt``."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from phosphene.errors import CardError, ConceptError, SpecError
from phosphene.labels import OPERATOR, Labels, comparable, first_synonym
from phosphene.textfile import exists, is_file, nearby

TEXT = "text:"
SUFFIXES = (".txt", ".json")
_PROMPT = re.compile(r"text:(.*?)(?= (?:\+|vs) text:|$)")
# What a spec would take apart, or take for a template or a file.
_RESERVED = re.compile(r";|\{\}|\.(?:txt|json)$", re.IGNORECASE)


def split_spec(spec: str) -> tuple[str, str]:
    """Split ``MODEL#PROMPTS`` into the model's spec and the prompts, which may be empty.

    A ``#`` in the path of a file is no mark.
    """
    marks = [match.start() for match in re.finditer("#", spec)]
    file_ends = [end for end in (*marks, len(spec)) if _exists(spec[:end])]
    end = file_ends[-1] if file_ends else min(marks, default=len(spec))
    return spec[:end], spec[end + 1 :]


def _exists(model: str) -> bool:
    """Return whether a spec is the path of a file or folder, perhaps with ``hf:`` or ``:function``."""
    prefix, _, rest = model.partition(":")
    file, _, function = model.rpartition(":")
    paths = [
        model,
        rest if prefix.isidentifier() else "",
        file if file.endswith(".py") and function.isidentifier() else "",
    ]
    return any(map(exists, paths))


def prompts_of(concepts: Any) -> list[str]:
    """Return the prompts, each once, in expressions such as ``text:A vs text:B``; none for other concepts.

    Args:
        concepts: Concepts as a user gives them: one or several, of any type.

    Raises:
        ConceptError: a prompt is empty, or holds what an expression or a spec takes apart.
    """
    items = [concepts] if isinstance(concepts, str) else concepts if isinstance(concepts, Iterable) else []
    return list(dict.fromkeys(prompt for one in items if isinstance(one, str) for prompt in _split_expression(one)))


def replace_prompts(text: str, class_of: Callable[[str], int]) -> str:
    """Return an expression with class indices for its prompts: ``(0) vs (1)`` for ``text:A vs text:B``.

    One without prompts is returned as it is.

    Args:
        text: What the user wrote.
        class_of: Returns the index of the class of a prompt, or raises ConceptError.

    Raises:
        ConceptError: a prompt is no class, is empty, or holds what an expression or a spec takes apart.
    """
    prompts = _split_expression(text)
    if len(prompts) < 2:
        return f"({class_of(prompts[0])})" if prompts else text
    return _PROMPT.sub(lambda match: f"({class_of(match[1].strip())})", " ".join(text.split()))


def label_of(prompt: str) -> str:
    """Return the label of a prompt: the prompt without commas, which separate synonyms in labels."""
    return " ".join(prompt.replace(",", " ").split())


def new_prompts(prompts: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Return those of ``prompts`` that no label or synonym in ``labels`` names yet, each once.

    Case, commas and blanks do not count.

    Raises:
        ConceptError: a prompt is empty, or a spec would take it apart.
    """
    prompts = list(prompts)
    for prompt in prompts:
        reserved = _RESERVED.search(prompt)
        if reserved:
            raise ConceptError(
                f"{prompt!r}: a text here cannot hold {reserved[0]!r}: put it into a file, MODEL#FILE.txt."
            )
        if not label_of(prompt):
            raise ConceptError(f"{prompt!r} is no text: give words.")
    return _without_known(prompts, labels)


def _without_known(prompts: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Return those of ``prompts`` that no label or synonym in ``labels`` names, with single blanks, each once."""
    names = {comparable(name) for label in labels for name in (label, *label.split(","))}
    unique_prompts = {comparable(label_of(prompt)): " ".join(prompt.split()) for prompt in reversed(list(prompts))}
    return [prompt for key, prompt in reversed(unique_prompts.items()) if key not in names]


def read_prompts(prompts: str, templates: Sequence[str], labels: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return label -> texts of the classes that the part of a spec after ``#`` names, after ``labels``.

    The items of that part are separated by ``;``. A prompt stands for itself, and a file (``.txt``, ``.json``) for its
    lines. With templates, these are class names, the first synonym of each put into every template; without, each line
    is a prompt, commas and all. An item with ``{}`` is a template, in place of those given.

    Args:
        prompts: ``a red star;a blue ring``, ``labels.txt``, ``labels.txt;a photo of a {};a drawing of a {}``.
        templates: Templates for class names if the spec has none; ``{}`` alone is none, and without any ``labels`` are
            whole texts.
        labels: Class names that the model brings along.

    Raises:
        CardError: a file is missing, empty or cannot be read, or a name is empty or there twice.
        ConceptError: a prompt is empty.
        SpecError: templates are given without class names to put into them, or a file is neither ``.txt`` nor ``.json``.
    """
    spec_templates: list[str] = []
    texts: list[str] = []
    names = _distinct(labels, "the model's list of labels", first_synonym)
    files: list[str] = []
    for item in filter(None, map(str.strip, prompts.split(";"))):
        if "{}" in item:
            spec_templates.append(" ".join(item.split()))
        elif item.lower().endswith(SUFFIXES):
            files.append(item)
        elif Path(item).suffix and is_file(item):  # a long text is no error
            raise SpecError(f"{item} is a file, and a list of classes is a .txt or .json file: rename it.")
        else:
            texts.append(item)
    whole_texts = {} if templates else {label_of(name): (name,) for name in names}
    names = names if templates else []
    has_no_templates = not spec_templates and tuple(templates) in ((), ("{}",))
    lines = [
        line
        for file in files
        for line in _distinct(_read_names(file), f"label file {file}", label_of if has_no_templates else first_synonym)
    ]
    names += [] if has_no_templates else lines
    if spec_templates and not names:
        raise SpecError(
            f"the template {spec_templates[0]!r} has no class names to hold"
            f"{', because the labels of the model are whole texts' * bool(whole_texts)}: add a file of them, "
            f"'#labels.txt;{spec_templates[0]}'."
        )
    classes = whole_texts | {
        label: tuple(template.replace("{}", first_synonym(label)) for template in spec_templates or templates)
        for label in names
    }
    if has_no_templates:
        classes |= {label_of(line): (line,) for line in _without_known(lines, classes)}
    return classes | {label_of(prompt): (prompt,) for prompt in new_prompts(texts, classes)}


def _read_names(file: str) -> list[str]:
    """Return the class names in a file that a spec names.

    Raises:
        CardError: the file is missing, empty or cannot be read.
    """
    if not exists(file):  # a long text is no error
        others = nearby(Path(file), lambda one: one.suffix in SUFFIXES and one.is_file())
        near = f" The same folder holds {others}." if others else ""
        raise CardError(f"label file {file} does not exist: a spec's path starts at the working directory.{near}")
    names = list(Labels.read(Path(file)))
    if not any(map(str.strip, names)):
        raise CardError(f"label file {file} is empty: write a text, or the name of a class, on each line.")
    return names


def _distinct(names: Iterable[str], where: str, part: Callable[[str], str]) -> list[str]:
    """Return names as a list, after checking that each has a ``part``, and none is there twice.

    Raises:
        CardError: one is; the message says ``where``.
    """
    result, places = list(names), dict[str, int]()
    for place, name in enumerate(result, 1):
        first_place = places.setdefault(comparable(label_of(name)), place)
        if not part(name):
            raise CardError(f"{where}: name {place} is empty: leave the line out.")
        if first_place != place:
            raise CardError(f"{where}: names {first_place} and {place} are both {name!r}: leave one out.")
    return result


def _split_expression(expression: str) -> list[str]:
    """Return the prompts of an expression that begins with ``text:``; none of any other.

    Raises:
        ConceptError: it cannot be taken apart.
    """
    text = " ".join(expression.split())
    prompts = [match.strip() for match in _PROMPT.findall(text)] if text.startswith(TEXT) else []
    parts = [text] if not prompts and re.search(r" (\+|vs) text:", text) else prompts
    for operator in filter(None, map(OPERATOR.search, parts)):
        raise ConceptError(f"{text!r} is unclear: write text: before each prompt, text:A {operator[1]} text:B.")
    if not all(map(label_of, prompts)):
        raise ConceptError(f"{text!r} lacks a prompt: write text:A PROMPT, or text:A PROMPT vs text:ANOTHER.")
    new_prompts(prompts, ())
    return prompts
