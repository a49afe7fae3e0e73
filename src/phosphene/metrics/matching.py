"""Match each class or output of a source's concepts to one of a target, by label."""

import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concepts import Concept, Sides
from phosphene.engine.targets import targets_of
from phosphene.errors import ConceptError, first_few
from phosphene.labels import Labels, first_synonym
from phosphene.two_tower import PromptClassifier
from phosphene.units import Unit

# Texts that a message writes out.
MOST_TEXTS = 12


@dataclass(frozen=True)
class MatchedMaps:
    """Result of :func:`match_maps`: what each map is of, and the target's classes for the source's.

    Attributes:
        concepts: What each map is of, at the source: all classes, unions and contrasts, or all outputs of a regression.
        classes: The target's class of each class of these concepts, or its output of each output.
        labels: The target's labels.
        multi_label: Whether the target's outputs are independent.
    """

    concepts: Sequence[Concept]
    classes: Mapping[int, int]
    labels: Sequence[str]
    multi_label: bool = False

    @cached_property
    def outputs(self) -> list[Unit]:
        """The target's output of each map, high or low, if maps are of a regression's outputs; else empty."""
        units = [concept.unit for concept in self.concepts if concept.unit]
        target_indices = [self.classes[unit.channel or 0] for unit in units]
        return [
            Unit(channel=one, output=self.labels[one], low=unit.low)
            for one, unit in zip(target_indices, units, strict=True)
        ]

    @cached_property
    def sides(self) -> list[Sides]:
        """Each map's :class:`Sides` in the target's class indices, sorted; empty for outputs."""
        return [
            Sides(*(tuple(sorted(self.classes[index] for index in side)) for side in concept.sides))
            for concept in self.concepts
        ]

    @cached_property
    def targets(self) -> Tensor:
        """What the target should predict: class indices (maps,), or int8 (maps, columns) of 1, -1 and 0.

        The latter are for sets, multi-label targets and outputs: :func:`phosphene.engine.targets.targets_of`.
        """
        return targets_of(self.sides, len(self.labels), multi_label=self.multi_label)

    @cached_property
    def is_contrast(self) -> list[bool]:
        """Whether each map is of a contrast, which is right half of the time by chance."""
        return [bool(concept.against) for concept in self.concepts]

    @cached_property
    def is_rated(self) -> list[bool]:
        """Whether each map counts for ``top1_all`` and ``p_class``: all do but contrasts, and those if there are no others."""
        return [not one or all(self.is_contrast) for one in self.is_contrast]

    @cached_property
    def pulled_up(self) -> list[tuple[int, ...]]:
        """The different sets of target classes that the maps pull up, sorted: the L concepts of ``M_score``.

        There are none for outputs.
        """
        return sorted({side.up for side in self.sides if side.up})


def match_maps(concepts: Sequence[Concept], target: Classifier) -> MatchedMaps:
    """Match the classes of ``concepts``, one concept per map, by label to the classes of a target.

    Outputs of a regression network are matched to those of another one.

    Raises:
        ConceptError: a class or output has none, or several; some concepts are outputs and the others, or those of the
            target, are classes.
        CardError: the target's outputs are measurements, and those of the maps are classes.
    """
    outputs = sum(concept.unit is not None for concept in concepts)
    texts_of = target.spec if isinstance(target.module, PromptClassifier) else ""
    if not outputs:
        target.refuse_regression("a score of maps of classes", "give a target that has classes")
    elif outputs < len(concepts):
        raise ConceptError("some maps are of outputs of a regression network, and some of classes: score them apart.")
    elif not target.regression and texts_of:
        raise ConceptError(
            f"the maps are of outputs by their own value, or of a single text, and {target.name} has {len(target.labels)} texts: "
            "score outputs on a network that measures them, and the text on a two-tower model with that text alone."
        )
    elif not target.regression:
        raise ConceptError(
            f"the maps are of outputs of a regression network, and {target.name} has classes: score them on a network "
            'whose card says output = "regression".'
        )
    classes = match(classes_of(concepts), target.labels, target.name, texts_of)
    for concept in concepts:
        if not target.multi_label and not concept.against and len(concept.up) == len(target.labels) > 1:
            raise ConceptError(
                f"{concept.label[:60]!r} is all classes of {target.name}, which nothing is told from: score it on a "
                "multi-label network, or on one with further classes."
            )
    return MatchedMaps(concepts, classes, target.labels, target.multi_label)


def overlap_note(concepts: Iterable[Concept]) -> "str | None":
    """Return a note if two of ``concepts`` pull up sets of classes that overlap but differ; else ``None``.

    ``M_score`` means nothing then. A contrast and its left side pull up the same: they are one concept, as are the seeds of a class.
    """
    labels: dict[tuple[int, ...], str] = {}
    for concept in concepts:
        labels.setdefault(concept.sides.up, first_synonym(concept.label))
    for one, other in itertools.combinations(labels, 2):
        if not set(one).isdisjoint(other):
            return (
                f"{labels[one]!r} and {labels[other]!r} share a class. M_score and top-1 among the concepts are only for "
                "concepts that share none, and mean nothing here: map such concepts into runs of their own."
            )
    return None


def units_note(units: int) -> "str | None":
    """Return a note that maps of inner units, ``units`` in number, are left out; ``None`` if there are none."""
    subject = "1 map of a unit is" if units == 1 else f"{units} maps of units are"
    return f"{subject} left out: other networks do not have the same units." if units else None


def classes_of(concepts: Iterable[Concept]) -> dict[int, str]:
    """Return index -> label of all classes (or outputs) of concepts, on either side, each once.

    Raises:
        ConceptError: one index stands for two labels: the maps come from classifiers with different classes.
    """
    labels: dict[int, str] = {}
    for index, label in (member for concept in concepts for member in _members(concept)):
        if labels.setdefault(index, label) != label:
            raise ConceptError(
                f"class {index} is {labels[index][:60]!r} in one map and {label[:60]!r} in another: "
                "score the maps of one classifier at a time."
            )
    return labels


def _members(concept: Concept) -> tuple[tuple[int, str], ...]:
    """Return index and label of each class of a concept on either side, or of the output that it is.

    There are none for a unit of an inner layer.
    """
    if concept.unit and concept.unit.is_output:
        return ((concept.unit.channel or 0, concept.unit.output),)
    return concept.up + concept.against


def match(
    concepts: Mapping[int, str], labels: Labels, target: str = "the target", texts_of: str = ""
) -> dict[int, int]:
    """Return source index -> index of the target's class that shares a synonym with it.

    Labels are lists of synonyms: classes that share one are possible matches; case and blanks do not matter. Where
    there are several (ImageNet has two called "crane"), position decides, if all concepts with a single match have the
    same offset: 0, or 1 for the "background" that some ImageNet classifiers put first. If their offsets differ, the
    closest label decides: the same in full, else with the same first synonym.

    Args:
        concepts: The source's index and label of each concept.
        labels: The target's.
        target: Name of the target in messages.
        texts_of: Spec of the target if it is a two-tower model, for the message: further texts can be given with it.

    Raises:
        ConceptError: a concept has no class or several, or two concepts have one; the message names them.
    """
    sharing = {index: labels.sharing(label) for index, label in concepts.items()}
    offsets = {classes[0] - index for index, classes in sharing.items() if len(classes) == 1} or {0}
    offset = offsets.pop() if len(offsets) == 1 else None
    candidates = {index: _candidates(index, label, labels, offset) for index, label in concepts.items()}
    _refuse_unmatched(concepts, candidates, target, texts_of)
    matches = {index: classes[0] for index, classes in candidates.items()}
    _refuse_shared(concepts, matches, labels, target)
    return matches


def _candidates(index: int, label: str, labels: Labels, offset: "int | None") -> list[int]:
    """Return the target's classes that a source class may be, by position or by label; perhaps none.

    If the class at ``index + offset`` agrees by label, it is the only one. ``offset`` is the target's index less the
    source's, of all concepts with a single match; ``None`` if those differ.
    """
    sharing = labels.sharing(label)
    if offset is not None and (index + offset in sharing or (not sharing and labels.same(index + offset, label))):
        return [index + offset]
    return labels.closest(label)


def _refuse_unmatched(
    concepts: Mapping[int, str], candidates: Mapping[int, Sequence[int]], target: str, texts_of: str
) -> None:
    """Raise ConceptError if a concept has no possible class in the target, or several."""
    problems = [
        repr(concepts[index][:60]) + (f" (classes {', '.join(map(str, classes[:3]))})" if classes else "")
        for index, classes in candidates.items()
        if len(classes) != 1
    ]
    fix = (
        "Give the target labels that name each of them once (`labels` in its card, or, of a two-tower model, texts "
        "after '#': MODEL#TEXT;ANOTHER), or map other concepts."
    )
    missing_labels = [first_synonym(concepts[index]) for index, classes in candidates.items() if not classes]
    if texts_of and len(missing_labels) == len(problems):
        spec = f"{texts_of}{';' if '#' in texts_of else '#'}{';'.join(missing_labels[:MOST_TEXTS])}"
        spec += ";..." if len(missing_labels) > MOST_TEXTS else ""
        fix = f"Give them as texts, {shlex.quote(spec)}, or map other concepts."
    if problems:
        raise ConceptError(
            f"{len(problems)} of {len(concepts)} concepts have no class of their own in {target}: "
            f"{first_few(problems)}. {fix}"
        )


def _refuse_shared(concepts: Mapping[int, str], matches: Mapping[int, int], labels: Labels, target: str) -> None:
    """Raise ConceptError if two source classes were matched to the same class of the target."""
    source_names: dict[int, list[str]] = {}
    for index, target_index in matches.items():
        source_names.setdefault(target_index, []).append(f"{concepts[index][:60]!r} ({index})")
    problems = [
        f"{' and '.join(names[:3])} are all {labels[target_index][:60]!r} ({target_index})"
        for target_index, names in source_names.items()
        if len(names) > 1
    ]
    if problems:
        raise ConceptError(
            f"{target} has one class for several concepts: {first_few(problems)}. "
            "Give the target labels of its own for each (`labels` in its card), or map other concepts."
        )
