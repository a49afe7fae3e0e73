"""What a map can be of: a class, a union ``tabby + tiger cat``, a contrast ``tabby + tiger cat vs lynx``, or a unit of the network.

A concept has a set of classes that it pulls up, and a set that it pushes down: a contrast its right side, any other
concept all other classes. With l the logits, its log-odds are ``logsumexp(l of up) - logsumexp(l of against)``.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

from phosphene.errors import RunError
from phosphene.labels import OPERATOR, first_synonym, unambiguous_name
from phosphene.units import UNIT_PREFIXES, Unit

# Numbers of unions and contrasts begin here, above all class indices; the rest of a number is a hash of 48 bits.
FIRST_NUMBER = 2**48
# Those of units begin here, above all unions and contrasts.
FIRST_UNIT = 2**49
# Classes of one side that a label names; it says how many more there are.
MOST_NAMES = 4


class Sides(NamedTuple):
    """The class indices that a concept pulls up and pushes down; ``against`` is empty for all other classes."""

    up: tuple[int, ...]
    against: tuple[int, ...] = ()


@dataclass(frozen=True)
class Concept:
    """What a map can be of: a class, a union of classes, a contrast of two sides, or a unit of the network.

    Attributes:
        up: Index and label of each class that it pulls up, by rising index; none for a unit.
        against: Those of the classes that it pushes down; none stands for all other classes.
        unit: The unit, whose activation is pulled up and nothing is pushed down; ``None`` for the others.
        groups: Name and class indices of each group of the classifier's labels that :attr:`label` names in place of its classes.
    """

    up: tuple[tuple[int, str], ...]
    against: tuple[tuple[int, str], ...] = ()
    unit: "Unit | None" = None
    groups: tuple[tuple[str, tuple[int, ...]], ...] = field(default=(), compare=False)

    @classmethod
    def of_class(cls, index: int, label: str) -> Self:
        """Return the concept of one class, against all others."""
        return cls(((index, label),))

    @classmethod
    def of_sides(
        cls,
        sides: Sides,
        labels: Mapping[int, str] | Sequence[str],
        groups: "Mapping[str, tuple[int, ...]] | None" = None,
    ) -> Self:
        """Return the concept that pulls up and pushes down classes.

        Args:
            sides: The class indices.
            labels: Each class's label.
            groups: Name of each group of classes -> their indices. One that is whole on a side stands for its classes in the
                label; of groups that overlap, the larger one.
        """
        up, against = (tuple((index, labels[index]) for index in sorted(set(side))) for side in sides)
        whole_groups = []
        for side in map(set, sides):
            for name, indices in sorted((groups or {}).items(), key=lambda one: -len(one[1])):
                if side.issuperset(indices):
                    whole_groups.append((name, indices))
                    side.difference_update(indices)
        return cls(up, against, groups=tuple(whole_groups))

    @classmethod
    def of_unit(cls, unit: Unit) -> Self:
        """Return the concept of a unit of the network."""
        return cls((), unit=unit)

    @property
    def is_class(self) -> bool:
        """Whether this is one class against all others, which jobs and runs refer to by its index alone."""
        return len(self.up) == 1 and not self.against

    @property
    def is_inner_unit(self) -> bool:
        """Whether this is a unit of an inner layer, which only its own network has; not an output."""
        return self.unit is not None and not self.unit.is_output

    @property
    def sides(self) -> Sides:
        """The class indices of the concept, without labels; both sides are empty for a unit."""
        return Sides(tuple(index for index, _ in self.up), tuple(index for index, _ in self.against))

    @property
    def order(self) -> tuple[Any, ...]:
        """The key to sort concepts by: classes by index, unions and contrasts by classes, then units by layer."""
        if self.unit:
            return 2, self.unit.layer, self.unit.file, self.unit.channel or 0, self.unit.low
        up, against = self.sides
        return int(not self.is_class), sorted(up + against), up

    @cached_property
    def index(self) -> int:
        """The number that identifies the concept within its classifier: a class's index, or 2**48 and more.

        The latter is a hash of the sides or of the unit.
        """
        if self.is_class:
            return self.up[0][0]
        offset, identity = (FIRST_UNIT, self.unit.facts()) if self.unit else (FIRST_NUMBER, tuple(self.sides))
        return offset + int.from_bytes(hashlib.sha256(repr(identity).encode()).digest()[:6], "big")

    @cached_property
    def label(self) -> str:
        """The label: that of the class or unit; of other concepts, groups and first synonyms.

        Of a side of over four names, the label says how many more there are.
        """
        if self.unit:
            return self.unit.label
        return self.up[0][1] if self.is_class else self._as_expression(self._short_name, self.groups, MOST_NAMES)

    @property
    def name_elsewhere(self) -> str:
        """The text by which concepts of two networks are matched: the label, or sorted class names of each side.

        It is the label for a class or unit.
        """
        if self.unit or self.is_class:
            return self.label
        names = (
            sorted(first_synonym(label) or f"class {index}" for index, label in side)
            for side in (self.up, self.against)
        )
        return " vs ".join(filter(None, map(" + ".join, names)))

    @property
    def expression(self) -> str:
        """The text that ``-c`` takes for this concept and no other: ``crane (134) vs heron (131)``."""
        return self.unit.expression if self.unit else self._as_expression(unambiguous_name)

    def _as_expression(
        self,
        name: Callable[[int, str], str],
        groups: tuple[tuple[str, tuple[int, ...]], ...] = (),
        most: "int | None" = None,
    ) -> str:
        """Return the concept as an expression: its groups, then its classes by ``name(index, label)``.

        A side of more than ``most`` names is cut.
        """
        sides = []
        for members in (self.up, self.against):
            side, names = dict(members), list[str]()
            for group, indices in groups:
                if side.keys() >= set(indices):
                    names.append(_quote(group, indices[0]))
                    side = {index: label for index, label in side.items() if index not in indices}
            names += [name(*one) if self.is_class else _quote(name(*one), one[0]) for one in side.items()]
            if most is not None and len(names) > most:
                names = [*names[: most - 1], f"{len(names) - most + 1} more"]
            sides.append(" + ".join(names))
        return " vs ".join(side for side in sides if side)

    def _short_name(self, index: int, label: str) -> str:
        """Return the first synonym of a class, with its index if another class of the concept has the same one."""
        short = first_synonym(label) or f"class {index}"
        namesakes = [other for _, other in self.up + self.against if first_synonym(other) == short]
        return f"{short} ({index})" if len(namesakes) > 1 else short

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what run.json and map.json hold of the concept beside index and label; nothing of a class.

        Of others that is the unit, or the labels on each side, and groups.
        """
        if self.is_class:
            return {}
        if self.unit:
            return {"unit": self.unit.facts()}
        sides = {"up": self.up, "against": self.against}
        facts: dict[str, dict[str, Any]] = {
            name: {str(index): label for index, label in side} for name, side in sides.items() if side
        }
        return {**facts, "groups": {name: list(indices) for name, indices in self.groups}} if self.groups else facts

    @classmethod
    def of_facts(cls, row: Mapping[str, Any]) -> Self:
        """Return the concept of a row of run.json or of a map.json: a class if the row has no sides or unit.

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
            groups = {str(name): tuple(map(int, indices)) for name, indices in row.get("groups", {}).items()}
        except (AttributeError, ValueError, TypeError):
            raise RunError(f"concept {row['label'][:60]!r} is damaged: map it into another run directory.") from None
        return cls.of_sides(Sides(tuple(up), tuple(against)), up | against, groups)


def disjoint(concepts: Iterable[Concept]) -> list[Concept]:
    """Return the concepts in order, without each that pulls up a class that one before it pulls up.

    Units, which have no classes, stay.
    """
    result: list[Concept] = []
    classes: set[int] = set()
    for concept in concepts:
        if classes.isdisjoint(concept.sides.up):
            result.append(concept)
            classes.update(concept.sides.up)
    return result


def _quote(name: str, index: int) -> str:
    """Return a class's name as an expression takes it: in double quotes if it has a word ``+`` or ``vs``.

    A name that has quotes itself is replaced by the index.
    """
    if '"' in name:
        return f"({index})"
    return f'"{name}"' if OPERATOR.search(f" {name} ") else name


def name_with_index(index: int, label: str) -> str:
    """Return a concept's name for messages: ``crane (134)`` for a class, the label of any other concept."""
    return f"{first_synonym(label)} ({index})" if is_class(index) else label


def is_class(index: int) -> bool:
    """Return whether a concept with this ``index`` is a single class, and no union, contrast or unit."""
    return index < FIRST_NUMBER


def is_unit(index: int) -> bool:
    """Return whether a concept with this ``index`` is a unit or an output, and not made of classes."""
    return index >= FIRST_UNIT


def kind_and_index(index: int, label: str) -> str:
    """Return ``class 134``, or the kind alone: union, contrast, unit, direction or output."""
    if is_class(index):
        return f"class {index}"
    if is_unit(index):
        return next((form[:-1] for form in UNIT_PREFIXES if label.startswith(form)), "output")
    return "contrast" if " vs " in re.sub('"[^"]*"', "", label) else "union"
