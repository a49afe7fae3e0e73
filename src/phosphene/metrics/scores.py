"""How a target classifies a source's maps: ``M_score``, top-1, every concept, and how they change with contrast."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.metrics.bootstrap import m_score_interval, wilson
from phosphene.metrics.m_score import divergences, m_score_of_logits
from phosphene.metrics.matching import MatchedMaps, concepts_of, match_maps
from phosphene.metrics.predictions import SCORE_CONTRAST, logits_at_contrasts, top1, top_predictions
from phosphene.metrics.scorecard import ConceptScore, Confusion, ContrastScore, Score

# The score is taken at 0.2; the others are reported beside it, so that nobody can choose the contrast that flatters.
CONTRASTS = (0.05, 0.1, 0.15, SCORE_CONTRAST, 0.25, 0.3, 0.4)
MOST_CONFUSIONS = 3


def score_maps(
    maps: Iterable[ConceptMap],
    concepts: Sequence[tuple[int, str]],
    target: Classifier,
    *,
    source: str = "source",
    device: str = "auto",
) -> tuple[Score, list[dict[str, Any]]]:
    """Classify the maps of one classifier by another; return their :class:`Score` and the target's most probable classes per map.

    Args:
        maps: Maps of at least two concepts.
        concepts: Index and label of each map's class.
        target: The classifier that is to classify them; its classes are matched to the maps' by label, and the images
            are resized to its input.
        source: Name of the classifier that the maps come from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns:
        The score, and the target's most probable classes for each map: see :func:`top_predictions`.

    Raises:
        ConceptError: fewer than two concepts, or the target lacks one of them.
        SpecError: the target takes images of another number of channels.
        NumericError: the target returns NaN or infinity.
    """
    matched = match_maps(concepts, target)
    with Engine(target, device=device) as engine:
        logits = logits_at_contrasts(engine, maps, CONTRASTS)
    score = score_of_logits(logits, matched, source=source, target=target.name)
    return score, top_predictions(logits[CONTRASTS.index(SCORE_CONTRAST)], matched)


def score_of_logits(logits: Tensor, maps: MatchedMaps, *, source: str = "source", target: str = "target") -> Score:
    """Return the :class:`Score` that a target's logits (contrasts, maps, classes) for a source's maps amount to; a pure function.

    Args:
        logits: (contrasts, maps, classes), the contrasts those of ``CONTRASTS``.
        maps: The classes of the maps.
        source: The source's name.
        target: The target's name.
    """
    truth, chosen = maps.truth, list(maps.classes.values())
    at_score = logits[CONTRASTS.index(SCORE_CONTRAST)]
    sweep = tuple(_at_contrast(contrast, rows, truth, chosen) for contrast, rows in zip(CONTRASTS, logits, strict=True))
    main = sweep[CONTRASTS.index(SCORE_CONTRAST)]
    count = len(truth)
    return Score(
        source=source,
        target=target,
        m_score=main.m_score,
        interval=m_score_interval(divergences(at_score, chosen), len(chosen)),
        top1_concepts=main.top1_concepts,
        top1_concepts_interval=wilson(round(main.top1_concepts * count), count),
        top1_all=main.top1_all,
        top1_all_interval=wilson(round(main.top1_all * count), count),
        p_class=main.p_class,
        maps=count,
        concepts=len(chosen),
        classes=at_score.shape[1],
        per_concept=_per_concept(at_score, maps),
        contrast_sweep=sweep,
    )


def _at_contrast(contrast: float, logits: Tensor, truth: Sequence[int], chosen: Sequence[int]) -> ContrastScore:
    """Return the ContrastScore of one contrast, from the target's logits (maps, classes): M_score, top-1 rates, mean probability."""
    return ContrastScore(
        contrast=contrast,
        m_score=m_score_of_logits(logits, chosen),
        top1_concepts=top1(logits, truth, among=chosen),
        top1_all=top1(logits, truth),
        p_class=float(_p_class(logits, truth).mean()),
    )


def _p_class(logits: Tensor, truth: Sequence[int]) -> Tensor:
    """Return the probability of each map's true class among all classes, float64 (maps,), from logits (maps, classes)."""
    return logits.double().softmax(1)[torch.arange(len(truth)), torch.tensor(list(truth))]


def _per_concept(logits: Tensor, maps: MatchedMaps) -> tuple[ConceptScore, ...]:
    """Return a ConceptScore per concept from the target's logits (maps, classes): right ones, probability, wrong predictions."""
    predicted, probability = logits.argmax(1).tolist(), _p_class(logits, maps.truth).tolist()
    rows = []
    for index, label in concepts_of(maps.concepts).items():
        own = [position for position, (other, _) in enumerate(maps.concepts) if other == index]
        wrong = Counter(predicted[position] for position in own if predicted[position] != maps.classes[index])
        rows.append(
            ConceptScore(
                index=index,
                label=label,
                target_index=maps.classes[index],
                maps=len(own),
                right=len(own) - wrong.total(),
                p_class=sum(probability[position] for position in own) / len(own),
                misread=tuple(
                    Confusion(other, maps.labels[other], count) for other, count in wrong.most_common(MOST_CONFUSIONS)
                ),
            )
        )
    return tuple(rows)
