"""JSON documents of a run: each has a file name, a version, and keys that must be there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.facts import missing_entry, versions
from phosphene.textfile import exists

SCHEMA = 1


@dataclass(frozen=True)
class Document:
    """A kind of JSON file in run directories.

    Attributes:
        name: Name of the file.
        content: Name of the content, for messages.
        needed: The entries that it must have, as :func:`~phosphene.runs.facts.missing_entry` takes them.
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


def run_json(head: dict[str, Any], rows: list[dict[str, Any]]) -> bytes:
    """Return the bytes of ``run.json``: the entries of ``head``, then ``jobs``, a dictionary per line, so that a million stay small."""
    first = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return (first + ',\n "jobs": [\n' + lines + "\n ]\n}\n").encode()
