"""Arguments of the Python functions, which take a spec or an object, and get an object.

What does not fit raises an error of one line that names the fix.
"""

import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.concepts import Concept
from phosphene.errors import ArgumentError, ConceptError, SamplesError, SpecError, describe
from phosphene.expressions import parse
from phosphene.labels import OPERATOR
from phosphene.prompts import label_of, prompts_of, replace_prompts, split_spec
from phosphene.samples import InMemory, SamplePool, default_samples, load_samples
from phosphene.sources import add_prompts, load
from phosphene.two_tower import ImageTower, PromptClassifier, texts_fix
from phosphene.units import LOW_PREFIX, UNIT_PREFIXES, Unit

MOST_SEEDS = 2**32

Concepts = str | int | Concept | Iterable[str | int | Concept]
Model = str | Path | Classifier
Samples = str | Path | SamplePool | InMemory | None
Device = str | torch.device


def as_list(values: Any) -> list[Any]:
    """Return an argument that holds one value or several as a list.

    Text and bytes count as one value. Tensors and arrays become Python's own numbers.
    """
    values = _own_numbers(values)
    one = isinstance(values, str | bytes) or not isinstance(values, Iterable)
    return [values] if one else [_own_numbers(value) for value in values]


def _own_numbers(value: Any) -> Any:
    """Return a tensor or an array as a number or nested lists of numbers, and all else as it is."""
    return value.tolist() if isinstance(value, Tensor | np.ndarray) else value


def concept_list(concepts: Any) -> "list[Any] | None":
    """Return one concept or several as a list that can be iterated twice; ``None`` stays.

    They may come from a generator.
    """
    return None if concepts is None else as_list(concepts)


def seed_range(seed: int, seeds: int = 1) -> range:
    """Return the range of seeds from ``seed`` to ``seed + seeds - 1``, within 0 to 2**32 - 1.

    Raises:
        ConceptError: there are none, or one is out of range.
    """
    if seeds < 1 or seed < 0 or seed + seeds > MOST_SEEDS:
        raise ConceptError(
            f"seeds={seeds} from seed={seed} cannot be used: give seeds=1 or more, and seeds from 0 to {MOST_SEEDS - 1}."
        )
    return range(seed, seed + seeds)


def require_at_least(least: int, **options: "float | None") -> None:
    """Raise ArgumentError for the first of the options whose value is below ``least``.

    Its message names the option. ``None`` is not below.

    Raises:
        ArgumentError: one is.
    """
    for name, value in options.items():
        if value is not None and not value >= least:
            raise ArgumentError(f"{name} is {value}; it must be {least} or more.")


def to_classifier(model: Any, *, trust: bool = False, concepts: Any = None, classes: Sequence[str] = ()) -> Classifier:
    """Return a classifier as it is, or load it by its spec.

    The prompts in ``concepts`` (``text:a red star``) become classes of a two-tower model; if it has none, ``classes`` are
    the labels of its classes.

    Raises:
        SpecError: it is neither.
        PhospheneError: the spec cannot be loaded; the message names the fix.
    """
    prompts = prompts_of(concepts)
    if isinstance(model, Classifier):
        return add_prompts(model, prompts, classes)
    if isinstance(model, str | Path):
        return load(model, trust=trust, prompts=prompts, classes=classes)
    if isinstance(model, nn.Module):
        raise SpecError(
            f"the model is a bare torch module ({type(model).__name__}), which does not define its input: "
            "give phosphene.Classifier(module, size=224, mean=[...], std=[...], labels=[...])."
        )
    raise SpecError(f"a model is a spec such as 'demo:shapes' or a phosphene.Classifier, not {describe(model)}.")


def to_classifiers(models: Any, *, trust: bool = False, classes: Sequence[str] = ()) -> list[Classifier]:
    """Return a list of classifiers for one model or several; a repeated spec or object counts once.

    Each is a spec to load, or a classifier.

    A two-tower model that comes without prompts has classes with the labels ``classes``.

    Raises:
        PhospheneError: as :func:`to_classifier`.
    """
    models_by_key = {str(one) if isinstance(one, str | Path) else id(one): one for one in as_list(models)}
    return [to_classifier(one, trust=trust, classes=classes) for one in models_by_key.values()]


def to_concepts(concepts: Any, classifier: Classifier) -> list[Concept]:
    """Return the Concepts that indices, labels or expressions mean, each once; all classes for ``None``.

    A Concept, such as ``maps[0].concept``, is taken by its expression, and a unit of an inner layer as it is. Whether the
    network has such units is not checked: :func:`phosphene.mapper.units.resolve_units` does that.

    Raises:
        ConceptError: a concept is neither an index nor text, cannot be understood, or there is none.
    """
    if concepts is None and isinstance(classifier.module, ImageTower):
        raise _no_texts(classifier)
    if concepts is None:
        return [_concept_of(index, classifier) for index in range(len(classifier.labels))]
    concepts_by_index: dict[int, Concept] = {}
    prompts = prompts_of(concepts)
    for one in as_list(concepts):
        if isinstance(one, Concept) and one.is_inner_unit:
            concepts_by_index.setdefault(one.index, one)
            continue
        if isinstance(one, bool) or not isinstance(one, str | Integral | Concept):
            raise ConceptError(f"a concept is the index of a class or a label such as 'castle', not {describe(one)}.")
        text = text_of(one).strip()
        with_indices = replace_prompts(text, lambda prompt: _class_of_prompt(prompt, classifier, prompts))
        try:
            text_concepts = _concepts_named(with_indices, classifier)
        except ConceptError as error:  # which is to show what the user wrote
            raise ConceptError(str(error).replace(repr(with_indices), repr(text))) from None
        for concept in text_concepts:
            concepts_by_index.setdefault(concept.index, concept)
    if not concepts_by_index:
        raise ConceptError("no concept was given: name one, or take all classes (--all, or concepts=None in Python).")
    return list(concepts_by_index.values())


def text_of(concept: Any) -> str:
    """Return the text that names a concept: the user's own, an index as ``(134)``, or an expression."""
    if isinstance(concept, Integral):
        return f"({concept})"
    return concept.expression if isinstance(concept, Concept) else str(concept)


def _concepts_named(text: str, classifier: Classifier) -> list[Concept]:
    """Return the concepts that one expression without prompts means; several only for units.

    An expression that means none is a ConceptError.
    """
    labels = classifier.labels
    if text.startswith(UNIT_PREFIXES) and not labels.has(text):
        return [Concept.of_unit(unit) for unit in Unit.parse(text)]
    if isinstance(classifier.module, ImageTower):
        raise _no_texts(classifier, text)
    if text.startswith(LOW_PREFIX) and not classifier.regression and not labels.has(text):
        raise ConceptError(
            f'{text!r}: {LOW_PREFIX}NAME is for networks whose card says output = "regression", not for classes.'
        )
    try:
        if classifier.regression:
            return [_output_named(text, classifier)]
        return [parse(text, labels, multi_label=classifier.multi_label)]
    except ConceptError as error:
        has_unknown_labels = not all(map(labels.has, OPERATOR.split(text)[::2]))
        if has_unknown_labels and '"' not in text and isinstance(classifier.module, PromptClassifier):
            raise ConceptError(f"{error} A text is written {_as_text(text)!r}.") from None
        raise


def _no_texts(classifier: Classifier, text: str = "A PROMPT") -> ConceptError:
    """Return the error of a two-tower model for which no texts are named, with the fix.

    ``text`` is what was taken for a class.
    """
    fix = texts_fix(classifier.spec, _as_text(text))
    return ConceptError(f"{classifier.spec} compares images with texts and has no classes: {fix}.")


def _as_text(expression: str) -> str:
    """Return an expression of class names as one of texts: ``text:A vs text:B`` for ``A (0) vs B (1)``."""
    without_indices = re.sub(r" \(\d+\)(?= |$)", "", expression)
    return "text:" + OPERATOR.sub(lambda operator: f"{operator[0]}text:", without_indices)


def _class_of_prompt(prompt: str, classifier: Classifier, prompts: Sequence[str]) -> int:
    """Return the index of the class with a prompt as its label.

    If there is none, the ConceptError names a spec that has it and all of ``prompts``.
    """
    indices_named = classifier.labels.called
    if indices_named(label_of(prompt)):
        return classifier.labels.find_name(label_of(prompt))
    if not isinstance(classifier.module, PromptClassifier | ImageTower):
        raise ConceptError(
            f"'text:{prompt}' is for models that embed texts, such as CLIP, and {classifier.name} has "
            f"{classifier.labels.what[1]}: name one of them, such as {classifier.labels.short(0)!r}."
        )
    missing_prompts = [one for one in prompts if not indices_named(label_of(one))]
    model, spec_prompts = split_spec(classifier.spec)
    spec = f"{model}#{';'.join([*filter(None, [spec_prompts]), *missing_prompts])}"
    fix = f"load {spec!r}, or give the spec {classifier.spec!r} itself, which takes every 'text:PROMPT'."
    if model == classifier.name:  # made in Python: no spec loads it
        fix = "give all texts at once, or the two-tower model itself."
    prompts_text = f"prompt{'s' * (len(missing_prompts) > 1)} {' and '.join(map(repr, missing_prompts))}"
    raise ConceptError(f"{classifier.name} was loaded without the {prompts_text}: {fix}")


def _concept_of(index: int, classifier: Classifier, *, low: bool = False) -> Concept:
    """Return the concept of a class, or of high or ``low`` values of an output of a regression network."""
    label = classifier.labels[index]
    if classifier.regression:
        return Concept.of_unit(Unit(channel=index, output=label, low=low))
    return Concept.of_class(index, label)


def _output_named(text: str, classifier: Classifier) -> Concept:
    """Return the concept of a regression output, ``NAME`` or ``low:NAME``; ConceptError for anything else."""
    labels = classifier.labels
    if classifier.measures and OPERATOR.search(text):
        raise ConceptError(f"{text!r} cannot be mapped: {classifier.measures}.")
    low = text.startswith(LOW_PREFIX) and not labels.has(text)
    name = text.removeprefix(LOW_PREFIX) if low else text
    if not name.strip():
        raise ConceptError(f"{text!r} lacks a name: write {LOW_PREFIX}NAME, such as {LOW_PREFIX + labels.short(0)!r}.")
    if not labels.has(name) and OPERATOR.search(name):
        raise ConceptError(
            f"{text!r}: outputs of a regression are mapped one by one, by -c NAME or -c {LOW_PREFIX}NAME."
        )
    return _concept_of(labels.find(name), classifier, low=low)


def to_pool(samples: Any, classifier: Classifier) -> SamplePool:
    """Return a sample pool as it is, or load a spec or samples in memory; ``None`` stands for default samples.

    They are the demo's own for demo models, else synthetic ones.

    Raises:
        SamplesError: it is neither, cannot be loaded, or does not fit the input of the classifier.
    """
    return to_pool_of_shape(default_samples(classifier.spec) if samples is None else samples, classifier.input.shape)


def to_pool_of_shape(samples: Any, shape: tuple[int, int, int]) -> SamplePool:
    """Return a sample pool as it is, if it has the ``shape`` (channels, height, width), or load a spec or samples in memory.

    Raises:
        SamplesError: it is none of these, cannot be loaded, or has another shape.
    """
    if not isinstance(samples, SamplePool):
        return load_samples(samples, shape)
    if tuple(samples.pixels.shape[1:]) != shape:
        raise SamplesError(f"the samples of the pool are {tuple(samples.pixels.shape[1:])}, the network takes {shape}.")
    return samples
