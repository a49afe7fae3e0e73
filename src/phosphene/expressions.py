"""Expressions in which users name concepts, such as ``star vs heart``: what they mean, and which of the concepts with maps they name."""

import re
from collections.abc import Iterable, Mapping, Sequence

from phosphene.concepts import Concept, Sides
from phosphene.errors import CardError, ConceptError
from phosphene.labels import INDEX, OPERATOR, Labels, first_synonym, unambiguous_name
from phosphene.prompts import TEXT, label_of, replace_prompts
from phosphene.units import UNIT_PREFIXES

# Parses of an ambiguous expression that are told apart.
MOST_PARSES = 8
# Classes are looked up in lists of labels as long as the largest index of a class; a damaged run may have any.
MOST_INDEX = 1_000_000

_LOOSE_OPERATOR = re.compile(r" ?\+ ?| (vs\.?|versus) ", re.IGNORECASE)  # what may have been meant for one
_BARE_OPERATOR = re.compile(r"^(\+|vs)( |$)|(^| )(\+|vs)$")  # without a name before or after it
BOTH_FORMS = "write NAME + NAME, or NAME vs NAME"
_NAME = re.compile(r'(?:"(?P<quoted>[^"]*)"|(?P<plain>.+?))(?: (?P<operator>\+|vs) |$)')


def parse(text: str, labels: Labels, *, multi_label: bool = False) -> Concept:
    """Return the Concept that text means: a class, a union ``A + B``, or a contrast ``A + B vs C``.

    Names are what :meth:`phosphene.labels.Labels.members` takes: a group of classes stands for their union. A label that is
    the whole text wins; a name in double quotes is not taken apart, and is no index. A union of all classes is for a ``multi_label``
    network, which tells it from *none of these*.

    Raises:
        ConceptError: a name is no class, or several; the expression has several meanings, which are listed; a class is
            on both sides; or nothing is left to push down.
    """
    sides = _sides_of(text, labels)
    overlap = set(sides.up) & set(sides.against)
    if overlap:
        raise ConceptError(f"{text!r} has {labels.short(min(overlap))!r} on both sides of ' vs ': name it on one.")
    if not multi_label and not sides.against and len(set(sides.up)) == len(labels) > 1:
        raise ConceptError(f"{text!r} is a union of all classes, which nothing is told from: leave one out.")
    return Concept.of_sides(sides, labels, labels.groups)


def find_among(text: str, concepts: Iterable[Concept], where: str) -> int:
    """Return :attr:`Concept.index` of the one of ``concepts`` that ``text`` means.

    Args:
        text: What the user wrote.
        concepts: The concepts that have maps.
        where: Name of the collection of maps, for the message.

    Raises:
        ConceptError: it names none of them, or several.
    """
    text, concepts_by_index = text.strip(), {one.index: one for one in concepts}
    unit = next((index for index, one in concepts_by_index.items() if one.unit and one.expression == text), None)
    if unit is not None:
        return unit
    if INDEX.fullmatch(text) and (number := int(text.strip("()"))) in concepts_by_index:
        return _labels_of(concepts_by_index.values()).find(text) if 0 <= number < MOST_INDEX else number
    indices, labels = list(concepts_by_index), Labels([one.label for one in concepts_by_index.values()])
    if text.startswith(TEXT):
        positions = labels.called(label_of(text.removeprefix(TEXT)))
    else:
        positions = labels.closest(text)
    if not positions:
        index = _index_of_expression(text, concepts_by_index.values())
        positions = [indices.index(index)] if index in concepts_by_index else []
    if len(positions) > 1:
        listing = " or ".join(repr(unambiguous_name(indices[one], labels[one])) for one in positions)
        raise ConceptError(f"{text!r} names {len(positions)} classes: write {listing}.")
    if not positions:
        examples = list(concepts_by_index.values())[:12]
        listing = ", ".join(
            f"{one.index} ({first_synonym(one.label)})" if one.is_class else one.label for one in examples
        )
        raise ConceptError(
            f"{where} has no map of {text!r}: it has {listing}{', ...' * (len(concepts_by_index) > 12)}."
        )
    return indices[positions[0]]


def _index_of_expression(text: str, concepts: Iterable[Concept]) -> "int | None":
    """Return the :attr:`Concept.index` of an expression in class names of ``concepts``; ``None`` if unreadable.

    None of ``concepts`` need have this index.
    """
    groups = {name: indices for one in concepts for name, indices in one.groups}
    try:
        labels = _labels_of(concepts, groups)
        text = replace_prompts(text, lambda prompt: labels.find_name(label_of(prompt)))
        return Concept.of_sides(_sides_of(text, labels), labels).index
    except (CardError, ConceptError):  # a damaged run may have impossible groups
        return None


def _labels_of(concepts: Iterable[Concept], groups: "Mapping[str, Sequence[int]] | None" = None) -> Labels:
    """Return partial Labels of the classes of ``concepts``, each at its index, and "" elsewhere.

    Raises:
        CardError: ``groups`` are impossible.
    """
    members = {index: label for one in concepts for index, label in one.up + one.against if 0 <= index < MOST_INDEX}
    names = [members.get(index, "") for index in range(max(members, default=-1) + 1)]
    return Labels(names, groups, partial=True)


# A parse of an expression: the operator before each name, which the first has not, the name, and whether it was quoted.
Parse = tuple[tuple[str, str, bool], ...]


def _sides_of(text: str, labels: Labels) -> Sides:
    """Return the Sides (class indices) that an expression means.

    Raises:
        ConceptError: a name is unknown, or the expression is ambiguous.
    """
    text = " ".join(text.split())
    if labels.has(text) or not (OPERATOR.search(text) or text.startswith('"')):
        return Sides(_find(text, labels))
    sides_by_parse = {parse: _resolve(parse, text, labels) for parse in _parses(text, labels)}
    if len({tuple(map(frozenset, sides)) for sides in sides_by_parse.values()}) > 1:
        listing = "; or ".join(
            " ".join(f'{operator} "{name}"'.strip() for operator, name, _ in one) for one in sides_by_parse
        )
        raise ConceptError(f"{text!r} has several meanings, so quote its names: {listing}.")
    return next(iter(sides_by_parse.values()))


def _parses(text: str, labels: Labels) -> list[Parse]:
    """Return the ways to split text into names, up to 8; if there are none, one that splits at each operator.

    Raises:
        ConceptError: a name is missing.
    """
    parts: list[tuple[str, str, bool]] = []
    operator: str | None = ""
    position = 0
    while operator is not None:
        match = _NAME.match(text, position)
        if match is None:
            raise ConceptError(f"{text!r} lacks a name: {BOTH_FORMS}.")
        quoted = match["quoted"] is not None
        parts.append((operator, match["quoted" if quoted else "plain"], quoted))
        operator, position = match["operator"], match.end()
    longest = 1 + max((len(OPERATOR.findall(label)) for label in labels), default=0)  # parts that one label may span
    parses: list[list[Parse]] = [[] for _ in parts] + [[()]]  # of what follows each part
    for start in reversed(range(len(parts))):
        for end in range(start + 1, min(start + longest, len(parts)) + 1):
            span = parts[start:end]
            name = span[0][1] + "".join(f" {operator} {other}" for operator, other, _ in span[1:])
            if labels.has(name) and (len(span) == 1 or not any(quoted for _, _, quoted in span)):
                parses[start] += [((span[0][0], name, span[0][2]), *rest) for rest in parses[end]]
        del parses[start][MOST_PARSES:]
    contrasts = [one for one in parses[0] if [operator for operator, *_ in one].count("vs") < 2]
    return contrasts or [tuple(parts)]


def _resolve(parse: Parse, text: str, labels: Labels) -> Sides:
    """Return the class indices that a parse means, as Sides.

    Raises:
        ConceptError: a name is unknown, or there is a second ``vs``.
    """
    sides: tuple[list[int], ...] = ([], [])
    side = 0
    for operator, name, quoted in parse:
        side += operator == "vs"
        if side > 1:
            raise ConceptError(f"{text!r} has more than one ' vs ': a contrast has two sides.")
        sides[side].extend(_find(name, labels, quoted=quoted))
    return Sides(*map(tuple, sides))


def _find(name: str, labels: Labels, *, quoted: bool = False) -> tuple[int, ...]:
    """Return the indices of the class or group that a name means.

    Raises:
        ConceptError: it means none; the message has an expression if the name looks like one.
    """
    try:
        return labels.members(name, quoted=quoted)
    except ConceptError as error:
        if name.startswith(UNIT_PREFIXES):
            raise ConceptError(
                f"{name!r} is a unit in an expression: units are mapped one by one, each by its own -c."
            ) from None
        if _BARE_OPERATOR.search(name):
            raise ConceptError(f"{name!r} lacks a name: {BOTH_FORMS}.") from None
        suggestion = _LOOSE_OPERATOR.sub(lambda match: " + " if "+" in match[0] else " vs ", name)
        if suggestion == name:
            raise
        raise ConceptError(
            f"{error} A union is written 'A + B' and a contrast 'A vs B', with blanks: {suggestion!r}."
        ) from None
