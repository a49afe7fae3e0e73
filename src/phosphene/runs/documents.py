"""JSON documents of a run: each has a file name, a version, and keys that must be there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.facts import versions
from phosphene.textfile import exists

SCHEMA = 1


@dataclass(frozen=True)
class Document:
    """A kind of JSON file in run directories.

    Attributes:
        name: Name of the file.
        content: Name of the content, for messages.
        needed: The entries that it must have, as :func:`missing_entry` takes them.
        fix: What to do if it is damaged.
        schema: The version of its entries; ``None`` if the file names none.
        contradiction: Function that returns what is wrong with entries whose types are right, for messages; empty if nothing is.
    """

    name: str
    content: str
    needed: dict[str, Any]
    fix: str
    schema: "int | None" = SCHEMA
    contradiction: Callable[[dict[str, Any]], str] = lambda _: ""

    def read(self, run: Path) -> "dict[str, Any] | None":
        """Return the content of file ``self.name`` in folder ``run``, a dictionary, or ``None`` if there is no file; RunError if damaged.

        Raises:
            RunError: it is damaged, or of another version.
        """
        path = run / self.name
        if not exists(path):
            return None
        data: Any = read_json(path, fix=self.fix)
        schema = data.get("schema") if isinstance(data, dict) else 0
        if self.schema not in (None, schema):
            raise RunError(f"{path} holds no {self.content} of this version (schema {self.schema}). {self.fix}")
        lacking = missing_entry(data, self.needed)
        wrong = f"it lacks {lacking}" if lacking else self.contradiction(data)
        if wrong:
            raise RunError(f"{path} is damaged ({wrong}). {self.fix}")
        return data  # type: ignore[no-any-return]

    def write(self, run: Path, entries: Mapping[str, Any]) -> None:
        """Write ``entries``, with schema and library versions, as the file ``self.name`` (such as ``scores.json``) into directory ``run``.

        Raises:
            RunError: it cannot be written.
        """
        write_json(run / self.name, {"schema": self.schema, "versions": versions(), **entries})


def missing_entry(data: Any, needed: Any, where: str = "") -> str:
    """Return the dotted name of the first ``needed`` entry that ``data`` lacks or holds in another type; empty if none.

    A whole number of more than 64 bits, which no tensor holds, is of another type.

    Args:
        data: Value that was read from JSON.
        needed: A type; or what each entry of a table must be, by its name, where ``*`` stands for all names, and a
            name with a question mark may be missing; or a list of one such requirement, which every row of a list must
            meet, or of several, for a list of just as many rows; or a tuple of requirements, one of which must be met.
        where: Text before the name of an entry.
    """
    if isinstance(needed, tuple):
        lacks = [missing_entry(data, one, where) for one in needed]
        return "" if "" in lacks else lacks[-1]
    if isinstance(needed, dict) and isinstance(data, dict):
        entries = dict.fromkeys(data, needed["*"]) if "*" in needed else needed
        for name, one in entries.items():
            key = name.removesuffix("?")
            if key != name and key not in data:
                continue
            lacking = missing_entry(data[key], one, f"{where}{key}.") if key in data else where + key
            if lacking:
                return lacking
        return ""
    if isinstance(needed, list) and isinstance(data, list) and len(needed) in (1, len(data)):
        for number, row in enumerate(data):
            lacking = missing_entry(row, needed[number % len(needed)], f"{where}{number}.")
            if lacking:
                return lacking
        return ""
    fits = isinstance(needed, type | UnionType) and isinstance(data, needed)
    fits = fits and not (isinstance(data, int) and data.bit_length() > 63)
    return "" if fits else where.removesuffix(".") or "a table"


def run_json(head: dict[str, Any], rows: list[dict[str, Any]]) -> bytes:
    """Return the bytes of ``run.json``: the entries of ``head``, then ``jobs``, a dictionary per line, so that a million stay small."""
    first = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return (first + ',\n "jobs": [\n' + lines + "\n ]\n}\n").encode()
