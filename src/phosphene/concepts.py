"""What a map can be of: a class, a union ``tabby + tiger cat``, a contrast ``tabby + tiger cat vs lynx``, or a unit of the network.

A concept has a set of classes that it pulls up, and a set that it pushes down: a contrast its right side, any other
concept all other classes. With l the logits, its log-odds are ``logsumexp(l of up) - logsumexp(l of against)``.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

from phosphene.errors import ConceptError, RunError
from phosphene.labels import Labels, first_synonym, unambiguous_name
from phosphene.units import FORMS, Unit

# Numbers of unions and contrasts begin here, above all class indices; the rest of a number is a hash of 48 bits.
FIRST_NUMBER = 2**48
# Those of units begin here, above all unions and contrasts.
FIRST_UNIT = 2**49
# Classes of one side that a label names; it says how many more there are.
MOST_NAMED = 4
# Readings of an ambiguous expression that are told apart.
MOST_READINGS = 8
# Classes are looked up in lists of labels as long as the largest index of a class; a damaged run may have any.
MOST_INDEX = 1_000_000

_OPERATOR = re.compile(r" (\+|vs) ")
_LOOSE_OPERATOR = re.compile(r" ?\+ ?| (vs\.?|versus) ", re.IGNORECASE)  # what may have been meant for one
_NAME = re.compile(r'(?:"(?P<quoted>[^"]*)"|(?P<plain>.+?))(?: (?P<operator>\+|vs) |$)')


class Sides(NamedTuple):
    """The class indices that a concept pulls up, and those that it pushes down; ``against`` is empty if these are all other classes."""

    up: tuple[int, ...]
    against: tuple[int, ...] = ()


@dataclass(frozen=True)
class Concept:
    """What a map can be of: one class, a union of classes, a contrast of two sides (pairs of index and label), or a unit of the network.

    Attributes:
        up: Index and label of each class that it pulls up, by rising index; none for a unit.
        against: Those of the classes that it pushes down; none stands for all other classes.
        unit: The unit, whose activation is pulled up and nothing is pushed down; ``None`` for the others.
    """

    up: tuple[tuple[int, str], ...]
    against: tuple[tuple[int, str], ...] = ()
    unit: "Unit | None" = None

    @classmethod
    def of_class(cls, index: int, label: str) -> Self:
        """Return the concept of one class, given by index and label, against all others."""
        return cls(((index, label),))

    @classmethod
    def of_sides(cls, sides: Sides, labels: Mapping[int, str] | Sequence[str]) -> Self:
        """Return the concept with these class indices on its two sides, in any order; ``labels`` has the label of each."""
        up, against = (tuple((index, labels[index]) for index in sorted(set(side))) for side in sides)
        return cls(up, against)

    @classmethod
    def of_unit(cls, unit: Unit) -> Self:
        """Return the concept of a unit of the network."""
        return cls((), unit=unit)

    @property
    def is_class(self) -> bool:
        """Whether the concept is one class against all others, which jobs and run directories know by its index alone."""
        return len(self.up) == 1 and not self.against

    @property
    def sides(self) -> Sides:
        """The class indices of the concept as Sides, those pulled up and those pushed down, without labels; a unit has none."""
        return Sides(tuple(index for index, _ in self.up), tuple(index for index, _ in self.against))

    @property
    def order(self) -> tuple[Any, ...]:
        """The key that concepts are sorted by: classes by index, unions and contrasts by their classes, then units by layer."""
        if self.unit:
            return 2, self.unit.layer, self.unit.file, self.unit.channel or 0, self.unit.low
        up, against = self.sides
        return int(not self.is_class), sorted(up + against), up

    @cached_property
    def index(self) -> int:
        """The number that identifies the concept within its classifier: a class's index; else a hash of sides or unit, 2**48 or more."""
        if self.is_class:
            return self.up[0][0]
        first, what = (FIRST_UNIT, self.unit.facts()) if self.unit else (FIRST_NUMBER, tuple(self.sides))
        return first + int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:6], "big")

    @cached_property
    def label(self) -> str:
        """The concept's label: a class's in full; else the expression in first synonyms, with at most four classes on a side."""
        if self.unit:
            return self.unit.label
        return self.up[0][1] if self.is_class else self._written(self._short_name, MOST_NAMED)

    @property
    def expression(self) -> str:
        """The expression, as ``-c`` takes it, that means this concept and no other: ``crane (134) vs heron (131)``."""
        return self.unit.expression if self.unit else self._written(unambiguous_name)

    def _written(self, name: Callable[[int, str], str], most: "int | None" = None) -> str:
        """Return the concept in the grammar of expressions, each class named by ``name(index, label)``, at most ``most`` on a side."""
        sides = []
        for members in (self.up, self.against):
            names = [name(*member) if self.is_class else _quoted(name(*member), member[0]) for member in members]
            if most is not None and len(names) > most:
                names = [*names[: most - 1], f"{len(names) - most + 1} more"]
            sides.append(" + ".join(names))
        return " vs ".join(side for side in sides if side)

    def _short_name(self, index: int, label: str) -> str:
        """Return the first synonym of one of the classes, with its index if another class of the concept has the same."""
        short = first_synonym(label) or f"class {index}"
        alike = [other for _, other in self.up + self.against if first_synonym(other) == short]
        return f"{short} ({index})" if len(alike) > 1 else short

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what run.json and map.json hold beside index and label: nothing for a class, the unit, or per side the labels by index."""
        if self.is_class:
            return {}
        if self.unit:
            return {"unit": self.unit.facts()}
        sides = {"up": self.up, "against": self.against}
        return {name: {str(index): label for index, label in side} for name, side in sides.items() if side}

    @classmethod
    def of_facts(cls, row: Mapping[str, Any]) -> Self:
        """Return the concept of a row of run.json or of a map.json: its index, label and :meth:`facts`; RunError if its sides are damaged.

        Raises:
            RunError: its sides are damaged.
        """
        if "up" not in row and "unit" not in row:
            return cls.of_class(row["index"], row["label"])
        try:
            if "unit" in row:
                return cls.of_unit(Unit(**row["unit"]))
            up, against = (
                {int(key): str(label) for key, label in row.get(side, {}).items()} for side in ("up", "against")
            )
        except (AttributeError, ValueError, TypeError):
            raise RunError(f"concept {row['label'][:60]!r} is damaged: map it into another --out.") from None
        return cls.of_sides(Sides(tuple(up), tuple(against)), up | against)


def parse(text: str, labels: Labels) -> Concept:
    """Return the Concept that text means (a class, ``NAME + NAME ...``, two of these around ``vs``); ConceptError if none, or unclear.

    Names are what :meth:`phosphene.labels.Labels.find` takes. A label that is the whole text wins; a name in double
    quotes is not taken apart.

    Raises:
        ConceptError: a name is no class, or several; the expression has several readings, which are listed; a class is
            on both sides; or nothing is left to push down.
    """
    sides = _sides_of(text, labels)
    both = set(sides.up) & set(sides.against)
    if both:
        raise ConceptError(f"{text!r} has {labels.short(min(both))!r} on both sides of ' vs ': name it on one.")
    if not sides.against and len(set(sides.up)) == len(labels) > 1:
        raise ConceptError(f"{text!r} is a union of all classes, which nothing is told from: leave one out.")
    return Concept.of_sides(sides, labels)


def disjoint(concepts: Iterable[Concept]) -> list[Concept]:
    """Return the concepts in order, except each that pulls up a class which an earlier concept, itself returned, pulls up."""
    kept: list[Concept] = []
    seen: set[int] = set()
    for concept in concepts:
        if seen.isdisjoint(concept.sides.up):
            kept.append(concept)
            seen.update(concept.sides.up)
    return kept


def find_among(text: str, concepts: Iterable[Concept], where: str) -> int:
    """Return the :attr:`Concept.index` of the concept that ``text`` (index, label, expression) means; ConceptError if none, or several.

    Args:
        text: What the user wrote.
        concepts: The concepts that have maps.
        where: Name of the collection of maps, for the message.

    Raises:
        ConceptError: it names none of them, or several.
    """
    text, known = text.strip(), {one.index: one for one in concepts}
    text = next((str(index) for index, one in known.items() if one.unit and one.expression == text), text)
    if text.isdecimal() and int(text) in known:
        return int(text)
    indices = list(known)
    closest = [] if text.isdecimal() else Labels([one.label for one in known.values()]).closest(text)
    if not closest:
        index = _index_of_expression(text, known.values())
        closest = [indices.index(index)] if index in known else []
    if len(closest) > 1:
        listed = "; ".join(f"{indices[place]} ({known[indices[place]].label})" for place in closest)
        raise ConceptError(f"{text!r} names {len(closest)} classes: give the index of one, {listed}.")
    if not closest:
        some = list(known.values())[:12]
        listed = ", ".join(f"{one.index} ({first_synonym(one.label)})" if one.is_class else one.label for one in some)
        raise ConceptError(f"{where} has no map of {text!r}: it has {listed}{', ...' * (len(known) > 12)}.")
    return indices[closest[0]]


def _index_of_expression(text: str, concepts: Iterable[Concept]) -> "int | None":
    """Return the :attr:`Concept.index` of the expression ``text``, its names taken from ``concepts``; ``None`` if it cannot be read."""
    members = {index: label for one in concepts for index, label in one.up + one.against if 0 <= index < MOST_INDEX}
    labels = Labels([members.get(index, "") for index in range(max(members, default=-1) + 1)])
    try:
        return Concept.of_sides(_sides_of(text, labels), labels).index
    except ConceptError:
        return None


# A reading of an expression: each name with the operator before it, which the first has not.
Reading = tuple[tuple[str, str], ...]


def _sides_of(text: str, labels: Labels) -> Sides:
    """Return the Sides (class indices) that an expression means; ConceptError for an unknown name, or an ambiguous expression."""
    text = " ".join(text.split())
    if labels.has(text) or not (_OPERATOR.search(text) or text.startswith('"')):
        return Sides((_find(text, labels),))
    readings = {reading: _resolved(reading, text, labels) for reading in _readings(text, labels)}
    if len({tuple(map(frozenset, sides)) for sides in readings.values()}) > 1:
        listed = "; or ".join(" ".join(f'{operator} "{name}"'.strip() for operator, name in one) for one in readings)
        raise ConceptError(f"{text!r} has several meanings, so quote its names: {listed}.")
    return next(iter(readings.values()))


def _readings(text: str, labels: Labels) -> list[Reading]:
    """Split an expression into (operator, name) pairs in up to 8 ways in which all names are labels; if none, one way, at each operator."""
    parts: list[tuple[str, str, bool]] = []  # the operator before it, a name, whether it was quoted
    operator: str | None = ""
    at = 0
    while operator is not None:
        found = _NAME.match(text, at)
        if found is None:
            raise ConceptError(f"{text!r} lacks a name: write NAME + NAME, or NAME vs NAME.")
        quoted = found["quoted"] is not None
        parts.append((operator, found["quoted" if quoted else "plain"], quoted))
        operator, at = found["operator"], found.end()
    longest = 1 + max((len(_OPERATOR.findall(label)) for label in labels), default=0)  # parts that one label may span
    readings: list[list[Reading]] = [[] for _ in parts] + [[()]]  # of what follows each part
    for start in reversed(range(len(parts))):
        for end in range(start + 1, min(start + longest, len(parts)) + 1):
            span = parts[start:end]
            name = span[0][1] + "".join(f" {operator} {other}" for operator, other, _ in span[1:])
            if labels.has(name) and (len(span) == 1 or not any(quoted for _, _, quoted in span)):
                readings[start] += [((span[0][0], name), *rest) for rest in readings[end]]
        del readings[start][MOST_READINGS:]
    contrasts = [one for one in readings[0] if [operator for operator, _ in one].count("vs") < 2]
    return contrasts or [tuple((operator, name) for operator, name, _ in parts)]


def _resolved(reading: Reading, text: str, labels: Labels) -> Sides:
    """Return the class indices that (operator, name) pairs mean, as Sides; ConceptError for an unknown name or a second ``vs``."""
    sides: tuple[list[int], ...] = ([], [])
    side = 0
    for operator, name in reading:
        side += operator == "vs"
        if side > 1:
            raise ConceptError(f"{text!r} has more than one ' vs ': a contrast has two sides.")
        sides[side].append(_find(name, labels))
    return Sides(*map(tuple, sides))


def _find(name: str, labels: Labels) -> int:
    """Return the index of the class that a name means; ConceptError, which says how an expression is written if it may be one."""
    try:
        return labels.find(name)
    except ConceptError as error:
        written = _LOOSE_OPERATOR.sub(lambda found: " + " if "+" in found[0] else " vs ", name)
        if written == name:
            raise
        raise ConceptError(
            f"{error} A union is written 'A + B' and a contrast 'A vs B', with blanks: {written!r}."
        ) from None


def _quoted(name: str, index: int) -> str:
    """Return a class's name as written in an expression: in double quotes if it holds an operator; its index if it holds quotes itself."""
    if '"' in name:
        return str(index)
    return f'"{name}"' if _OPERATOR.search(f" {name} ") else name


def name_with_index(index: int, label: str) -> str:
    """From a concept's index and label, return its name for messages: ``crane (134)`` for a class; the label of any other concept."""
    return f"{first_synonym(label)} ({index})" if index < FIRST_NUMBER else label


def kind_and_index(index: int, label: str) -> str:
    """From a concept's index and label, return in words what it is: a class, union, contrast, unit, direction or output."""
    if index < FIRST_NUMBER:
        return f"class {index}"
    if index >= FIRST_UNIT:
        return next((form[:-1] for form in FORMS if label.startswith(form)), "output")
    return "contrast" if " vs " in re.sub('"[^"]*"', "", label) else "union"
