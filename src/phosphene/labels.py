"""Class names, and the class that a user's words refer to."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Integral
from pathlib import Path

from phosphene.errors import CardError, ConceptError, first_few, nearest, printable
from phosphene.label_files import read_names
from phosphene.textfile import is_utf8

MAX_CHARACTERS = 1000
# Between the names of an expression, ``A + B vs C``.
OPERATOR = re.compile(r" (\+|vs) ")
# A bare index, which may be a label as well, and one that can be nothing else.
INDEX = re.compile(r"-?(?:0|[1-9][0-9]*)|\(-?[0-9]+\)")  # 01 is a name; str.isdigit accepts "²", which int() does not


class Labels(Sequence[str]):
    """The class names of a classifier, in output order, which can look up the class that a user names.

    A concept is an index, a full label, one of its synonyms, or a synonym with its index, ``crane (134)``. ImageNet
    writes a label as ``lion, king of beasts, Panthera leo``. Case and surrounding blanks do not matter. A number in text
    that is the index of one class and the label of another is refused; ``(134)`` is an index, whatever the labels.

    Args:
        names: The class names.
        groups: Name of each group of classes -> what names its classes; :meth:`members` finds it.
        what: What messages call one of them, and several.
        partial: Whether there are classes whose labels are not known; one may be called like the index of another.

    Attributes:
        groups: Name of each group -> the indices of its classes, sorted.
        source: The file that they come from, and what it begins and ends with, for messages; empty if there is none.

    Raises:
        CardError: a group has a name that it cannot have, fewer than two classes, or the classes of another.
    """

    def __init__(
        self,
        names: Sequence[str],
        groups: "Mapping[str, Sequence[str | int]] | None" = None,
        what: tuple[str, str] = ("class", "classes"),
        *,
        partial: bool = False,
    ) -> None:
        self.what, self._partial, self.source = what, partial, ""
        self._names = tuple(name.strip() for name in names)
        self._synonyms = tuple(_synonyms(name) for name in self._names)
        self._indices: dict[str, list[int]] = {}
        self._numbers: dict[int, list[int]] = {}  # of the labels that are one, 01 like 1
        for index, name in enumerate(self._names):
            for key in {comparable(name), *self._synonyms[index]}:
                if key:
                    self._indices.setdefault(key, []).append(index)
                if re.fullmatch("-?[0-9]+", key):
                    self._numbers.setdefault(int(key), []).append(index)
        self.groups: dict[str, tuple[int, ...]] = {}
        for group, members in (groups or {}).items():
            indices = self._indices_of_group(group, members, groups or {})
            self.groups[" ".join(group.split())] = indices

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        return self._names[index]

    def __repr__(self) -> str:
        return printable(
            f"Labels({len(self)} {self.what[len(self) != 1]}: {first_few(list(map(first_synonym, self)))})"
        )

    def short(self, index: int) -> str:
        """Return the first synonym of class ``index``'s label, such as ``lion``, for captions."""
        return first_synonym(self._names[index])

    def find(self, concept: "str | int") -> int:
        """Return the index of the class that a user names by index, label, synonym or ``crane (134)``.

        Raises:
            ConceptError: it names no class, or several; the message lists them.
        """
        text = str(concept).strip()
        if not INDEX.fullmatch(text):
            return self.find_name(text)
        index, (what, several) = int(text.strip("()")), self.what
        is_text = isinstance(concept, str)  # an int is an index, and no label
        matches = self._numbers.get(index, []) if is_text and not text.startswith("(") else []
        if not 0 <= index < len(self):
            if matches:
                return matches[0] if len(matches) == 1 else self.find_name(text)
            raise ConceptError(f"{what} index {index} is out of range: the network has {several} 0 to {len(self) - 1}.")
        is_unclear = is_text and self._partial and text.isdecimal() and self.short(index).isdecimal()
        if matches != [index] and (matches or is_unclear):
            forms = " or ".join(repr(unambiguous_name(one, self._names[one])) for one in sorted({index, *matches}))
            raise ConceptError(f"{text!r} may be the index of one {what} and the label of another: write {forms}.")
        return index

    def find_name(self, text: str) -> int:
        """Return the index of the class that a user names as :meth:`find` does, if a number is a name.

        Raises:
            ConceptError: it names no class, or several; the message lists them.
        """
        indices = self._indices_of(text)
        if len(indices) == 1:
            return indices[0]
        if indices:
            listing = " or ".join(self._described(index) for index in indices)
            raise ConceptError(f"{text!r} names {len(indices)} {self.what[1]}: write {listing}.")
        examples = first_few([*self.groups, *map(first_synonym, self._names)])
        hint = nearest(text, [*self._indices, *self.groups]) or f" Try an index, or one of {examples}."
        if INDEX.fullmatch(text):
            hint = " An index is written without quotes."
        raise ConceptError(f"no {self.what[0]} is called {text!r}.{hint}")

    def members(self, concept: "str | int", *, quoted: bool = False) -> tuple[int, ...]:
        """Return the indices of the classes that a user names: those of a group, or the one that :meth:`find` finds.

        Of text that was ``quoted``, a number is a name and no index.

        Raises:
            ConceptError: it names no group and no class, or several classes.
        """
        return self._group(str(concept)) or (self.find_name(str(concept)) if quoted else self.find(concept),)

    def name(self, index: int) -> str:
        """Return what names class ``index`` and no other: its first synonym, if need be with the index."""
        short = self.short(index)
        return short if self.called(short) == [index] and not short.isdecimal() else unambiguous_name(index, short)

    def has(self, concept: str) -> bool:
        """Return whether text is a whole number (in range or not) or the name of a class or group.

        Such text is no expression.
        """
        return bool(INDEX.fullmatch(concept.strip()) or self._indices_of(concept) or self._group(concept))

    def _group(self, name: str) -> tuple[int, ...]:
        """Return the sorted indices of the classes of a group; none if there is no group of this name."""
        key = comparable(name)
        return next((indices for group, indices in self.groups.items() if comparable(group) == key), ())

    def _indices_of_group(self, group: str, members: Sequence[str | int], groups: Iterable[str]) -> tuple[int, ...]:
        """Return the sorted indices of a group's ``members``, classes and none of ``groups``, the names of all groups; or CardError."""
        is_name = isinstance(group, str) and is_utf8(group) and bool(comparable(group))
        if not is_name or re.search(r'[,"]|^\(?-?[0-9]+\)?$', group.strip()):
            raise CardError(f"group {group!r}: its name has to be words, without commas and quotes.")
        if self._indices_of(group) or self._group(group):
            raise CardError(f"group {group!r} has the name of a class or of another group: choose another.")
        if not isinstance(members, list | tuple) or any(
            isinstance(one, bool) or not isinstance(one, str | Integral) for one in members
        ):
            raise CardError(f"group {group!r} is {members!r}: give a list of labels.")
        names = {comparable(str(one)) for one in groups}
        for one in (str(one) for one in members if comparable(str(one)) in names and not self._indices_of(str(one))):
            raise CardError(
                f"group {group!r} has {one!r}, a group, in it: a group holds labels, so list those of {one!r}."
            )
        try:
            group_indices = tuple(
                sorted({self.find_name(one) if isinstance(one, str) else self.find(one) for one in members})
            )
        except ConceptError as error:
            raise CardError(f"group {group!r}: {error}") from None
        twins = [other for other, indices in self.groups.items() if indices == group_indices]
        if twins or len(group_indices) < 2:
            what = f"has the classes of group {twins[0]!r}: leave one out" if twins else "needs two labels or more"
            raise CardError(f"group {group!r} {what}.")
        return group_indices

    def called(self, name: str) -> list[int]:
        """Return the sorted indices of the classes with this label or synonym, even if it is a number."""
        return self._indices.get(comparable(name), [])

    def _indices_of(self, name: str) -> list[int]:
        """Return the indices of the classes with this label or synonym, or that ``crane (134)`` or ``(134)`` means."""
        indices = self.called(name)
        form = re.fullmatch(r"(?:(.+) )?\(([0-9]+)\)", name.strip())  # "crane (134)", as reports write it
        if form and not indices:
            indices = [index for index in self.called(form[1]) if index == int(form[2])] if form[1] else [int(form[2])]
        return [index for index in indices if index < len(self)]

    def _described(self, index: int) -> str:
        """Return what names a class for an error message, with its label, or its neighbours if that is not unique."""
        name = self._names[index]
        if self._names.count(name) > 1:
            neighbours = [self.short(neighbour) for neighbour in (index - 1, index + 1) if 0 <= neighbour < len(self)]
            name = f"next to {' and '.join(neighbours)}"
        return f"{unambiguous_name(index, self._names[index])!r} ({name})"

    def same(self, index: int, label: str) -> bool:
        """Return whether class ``index`` exists and has the synonyms of ``label`` in the same order."""
        return 0 <= index < len(self) and self._synonyms[index] == _synonyms(label)

    def sharing(self, label: str) -> list[int]:
        """Return the sorted indices of all classes that have a synonym in common with ``label``."""
        return sorted({index for key in _synonyms(label) for index in self._indices.get(key, [])})

    def closest(self, label: str) -> list[int]:
        """Return the indices of the classes closest to ``label``: with the same label, first synonym, or any synonym.

        Only those of the first kind that exists are returned.
        """
        synonyms, sharing = _synonyms(label), self.sharing(label)
        exact = [index for index in sharing if self._synonyms[index] == synonyms]
        return exact or [index for index in sharing if self._synonyms[index][0] == synonyms[0]] or sharing

    @property
    def numbers_only(self) -> bool:
        """Whether all names are the default ``class 0``, ``class 1``, ...: the classifier came without labels."""
        return self._names == tuple(Labels.numbered(len(self)))

    @classmethod
    def numbered(cls, count: int) -> "Labels":
        """Return the default labels ``class 0``, ``class 1``, ... for ``count`` classes."""
        return cls([f"class {index}" for index in range(count)])

    @classmethod
    def read(cls, path: Path) -> "Labels":
        """Read labels from a file of any kind that :func:`phosphene.label_files.read_names` knows.

        Raises:
            CardError: the file is missing, of no such kind, or holds what cannot be a label.
        """
        labels = cls(check_labels(read_names(path), f"label file {path}: "))
        blank = f", that of class {labels.index('')} is blank" if "" in labels else ""
        labels.source = (
            f", by {path}: the first is {labels[0]!r}, the last {labels[-1]!r}{blank}" if labels else f", by {path}"
        )
        return labels


def check_labels(names: Iterable[str], where: str = "") -> list[str]:
    """Return names as a list, after checking that captions and file names can hold them.

    Raises:
        CardError: the names have no order, or one is no text, too long, or holds a lone surrogate; for a name, the message
            begins with ``where``.
    """
    if isinstance(names, Mapping | AbstractSet):
        raise CardError(f"labels are a {type(names).__name__}: give a list of texts, in the order of the outputs.")
    names = list(names)
    for number, name in enumerate(names):
        label = f"{where}the label of class {number}"
        if not isinstance(name, str):
            raise CardError(f"{label} is {str(name)[:40]} ({type(name).__name__}): labels must be texts.")
        if len(name) > MAX_CHARACTERS:
            raise CardError(f"{label} has {len(name):,} characters; at most {MAX_CHARACTERS} are allowed.")
        if not is_utf8(name):
            raise CardError(f"{label}, {name!r:.40}, has half a character (a lone surrogate): leave it out.")
    return names


def first_synonym(label: str) -> str:
    """Return the part of a label before its first comma, ``lion`` for ``lion, king of beasts``."""
    return label.split(",", 1)[0].strip()


def _synonyms(label: str) -> tuple[str, ...]:
    """Return the comma-separated synonyms of a label, in lower case with single spaces, for comparison."""
    return tuple(comparable(part) for part in label.split(","))


def comparable(text: str) -> str:
    """Return text in the form in which labels are compared.

    That is in lower case, with single spaces, none at the ends, and composed accents.
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def unambiguous_name(index: int, label: str) -> str:
    """Return a class's first synonym and its index, ``crane (134)``, which ``-c`` takes.

    It is ``(134)`` if the label is no name.
    """
    short = first_synonym(label)
    return f"{short} ({index})" if short.isprintable() and short not in ("", f"class {index}") else f"({index})"
