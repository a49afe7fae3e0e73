"""Reads class names from files as people have them: one per line, a table with an index, JSON, YAML, a Python dictionary."""

import ast
import json
import re
from pathlib import Path
from typing import Any

from phosphene.errors import CardError, one_line
from phosphene.textfile import missing, read_text

MAX_BYTES = 100_000_000
WNID = re.compile(r"n\d{8}")  # of a class in WordNet, and so in ImageNet: n01440764
# One line of a table: an index or a wnid, what separates it, and the label.
ROW = re.compile(rf"(?P<key>\d+|{WNID.pattern})(?:\s*[,;:\t]\s*|\s+)(?P<label>\S.*)")
MOSTLY = 0.9  # of the names in a table differ; ImageNet has two cranes
TABLE_HEADER = re.compile(r"[^,;\t]+[,;\t][^,;\t].*|names:")


def read_names(path: Path) -> list[Any]:
    """Return the class names of a label file in order; what JSON has in their place is returned as it is.

    A file holds a name per line, also after the index of its class (0 to the last, in order), after the wnid of ImageNet or
    as an item of YAML; or a list or a dictionary, of JSON or Python: index -> name, index -> (wnid, name), name -> index, or
    one with these below ``id2label`` or ``names``.

    Raises:
        CardError: the file is missing, damaged or no UTF-8, or lacks an index.
    """
    with one_line(CardError, f"label file {path} cannot be read"):
        if not path.exists():
            raise CardError(missing("label file", path))
        text = read_text(path, MAX_BYTES).rstrip()
        if path.suffix.lower() in (".yaml", ".yml"):
            text = re.sub(r"^names:\s*", "", text.lstrip())
        if path.suffix.lower() == ".json":
            data = json.loads(text)
        elif f"{text[:1]}{text[-1:]}" in ("{}", "[]") and not re.match(r"\[.*\]\n|\{.*\}\n", text):
            data = ast.literal_eval(text)
        else:
            data = _without_keys([line.strip() for line in text.splitlines()])
    for key in ("id2label", "names"):
        data = data.get(key, data) if isinstance(data, dict) else data
    if isinstance(data, dict):
        data = _in_order(data, path)
    if not (isinstance(data, list) and all(isinstance(name, str) for name in data)):
        raise CardError(f"label file {path} must hold a list of names, or an object from index to name.")
    return data


def _in_order(data: dict[Any, Any], path: Path) -> list[Any]:
    """Return the names in a dictionary index -> name, or name -> index, in the order of the indices; or CardError."""
    if all(type(value) is int for value in data.values()):
        data = {index: name for name, index in data.items()}
    by_index = {int(key) if re.fullmatch(r"\d+", str(key), re.ASCII) else key: value for key, value in data.items()}
    for index in range(len(data)):
        if index not in by_index:
            raise CardError(f"label file {path} has no label for class {index}.")
    names = [by_index[index] for index in range(len(data))]
    if all(isinstance(one, list | tuple) and len(one) == 2 and WNID.fullmatch(str(one[0])) for one in names):
        names = [name.replace("_", " ") for _, name in names]  # as in imagenet_class_index.json
    return names


def _without_keys(lines: list[str]) -> list[str]:
    """Return lines without what stands before the name in every one of them, and without the header of a table.

    That is an index, 0 to the last in order, a wnid, or both, or the dash of a list; other lines are returned as they are,
    and so are those whose number is part of the name, without which many are the same: ``0 fingers``, ``1 finger``.
    """
    if lines and all(line.startswith("- ") for line in lines):
        return [_unquoted(line.removeprefix("- ").strip()) for line in lines]
    for rows in (lines, lines[1:] if lines and TABLE_HEADER.fullmatch(lines[0]) else []):
        matches = [ROW.fullmatch(line) for line in rows]
        keys = [match["key"] for match in matches if match]
        is_index = keys == [str(index) for index in range(len(rows))]
        is_wnid = len(keys) == len(rows) and all(map(WNID.fullmatch, keys))
        names = [_unquoted(match["label"]) for match in matches if match]
        if len(rows) > 1 and (is_wnid or (is_index and len(set(names)) > MOSTLY * len(names))):
            return names if is_wnid else _without_keys(names)
    return lines


def _unquoted(text: str) -> str:
    """Return text without the quotes around it that CSV and YAML write."""
    quoted = re.fullmatch(r"""(["'])(.*)\1""", text)
    return quoted[2].replace(quoted[1] * 2, quoted[1]) if quoted else text
