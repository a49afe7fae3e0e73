"""Class names, and how a user's words find a class."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from phosphene.errors import CardError, ConceptError, first_line, nearest
from phosphene.textfile import read_text

MOST_BYTES = 100_000_000
MOST_SIGNS = 1000


class Labels(Sequence[str]):
    """The names of a classifier's classes, in output order.

    A concept is an index, a full label, or one of its synonyms: ImageNet writes a label as
    ``lion, king of beasts, Panthera leo``. Case and surrounding blanks do not matter.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(name.strip() for name in names)
        self._synonyms = tuple(_synonyms(name) for name in self._names)
        self._found: dict[str, list[int]] = {}
        for index, name in enumerate(self._names):
            for key in {_key(name), *self._synonyms[index]}:
                if key:
                    self._found.setdefault(key, []).append(index)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        return self._names[index]

    def short(self, index: int) -> str:
        """Return the first synonym of a label, for captions."""
        return first_synonym(self._names[index])

    def find(self, concept: "str | int") -> int:
        """Return the index of the class that ``concept`` names.

        Raises:
            ConceptError: no class answers to it, or several do; the message lists them.
        """
        text = str(concept).strip()
        if re.fullmatch(r"-?[0-9]+", text):  # str.isdigit also takes "²", which is no number
            if 0 <= int(text) < len(self):
                return int(text)
            raise ConceptError(f"class index {text} is out of range: the classifier has classes 0 to {len(self) - 1}.")
        found = self._found.get(_key(text), [])
        if len(found) == 1:
            return found[0]
        if found:
            listed = "; ".join(f"{index} ({self._names[index]})" for index in found)
            raise ConceptError(f"{text!r} names {len(found)} classes: give the index of one, {listed}.")
        raise ConceptError(f"no class is called {text!r}.{nearest(text, list(self._found)) or ' Try an index.'}")

    def same(self, index: int, label: str) -> bool:
        """Say whether class ``index`` is there and has this very label; case and blanks do not matter."""
        return 0 <= index < len(self) and self._synonyms[index] == _synonyms(label)

    def sharing(self, label: str) -> list[int]:
        """Return the classes that have a synonym in common with another classifier's ``label``."""
        return sorted({index for key in _synonyms(label) for index in self._found.get(key, [])})

    def closest(self, label: str) -> list[int]:
        """Return those of them with the same full label; else with the same first synonym; else all of them."""
        wanted, sharing = _synonyms(label), self.sharing(label)
        full = [index for index in sharing if self._synonyms[index] == wanted]
        return full or [index for index in sharing if self._synonyms[index][0] == wanted[0]] or sharing

    @property
    def numbers_only(self) -> bool:
        """Whether these are the names of a classifier that came without any."""
        return self._names == tuple(Labels.numbered(len(self)))

    @classmethod
    def numbered(cls, count: int) -> "Labels":
        """Names for a classifier that came without any: ``class 0`` and so on."""
        return cls([f"class {index}" for index in range(count)])

    @classmethod
    def read(cls, path: Path) -> "Labels":
        """Read a text file, one label a line, or JSON: a list, or an object from index to label.

        Raises:
            CardError: the file is missing or is neither.
        """
        try:
            text = read_text(path, MOST_BYTES, encoding="utf-8-sig")
            if path.suffix.lower() != ".json":
                names = text.splitlines()
                while names and not names[-1].strip():
                    names.pop()
                return cls(_believed(names, path))
            data = json.loads(text)
            if isinstance(data, dict):
                data = [data[str(index)] for index in range(len(data))]
        except FileNotFoundError:
            raise CardError(f"label file {path} does not exist.") from None
        except KeyError as error:
            raise CardError(f"label file {path} has no label for class {error.args[0]}.") from None
        except RecursionError:
            raise CardError(f"label file {path} cannot be read: it is nested too deeply.") from None
        except (OSError, ValueError) as error:
            raise CardError(f"label file {path} cannot be read: {first_line(error)}.") from None
        if not (isinstance(data, list) and all(isinstance(name, str) for name in data)):
            raise CardError(f"label file {path} must hold a list of names, or an object from index to name.")
        return cls(_believed(data, path))


def _believed(names: list[str], path: Path) -> list[str]:
    """Refuse what is no name: it would end up in captions, reports and file names."""
    for number, name in enumerate(names):
        if len(name) > MOST_SIGNS:
            raise CardError(
                f"label file {path}: the label of class {number} has {len(name):,} signs; {MOST_SIGNS} are the most."
            )
        if any("\ud800" <= sign <= "\udfff" for sign in name):
            raise CardError(f"label file {path}: the label of class {number} holds half of a sign (a lone surrogate).")
    return names


def first_synonym(label: str) -> str:
    """Return ``lion`` for ``lion, king of beasts, Panthera leo``."""
    return label.split(",", 1)[0].strip()


def _synonyms(label: str) -> tuple[str, ...]:
    return tuple(_key(part) for part in label.split(","))


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
