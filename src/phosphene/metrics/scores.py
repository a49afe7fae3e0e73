"""How a target classifies a source's maps: ``M_score``, top-1, every concept, and how they change with contrast."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.engine.targets import hits, predicted, target_probabilities
from phosphene.metrics.bootstrap import m_score_interval, wilson
from phosphene.metrics.m_score import divergences, m_score_of_logits
from phosphene.metrics.matching import MatchedMaps, match_maps
from phosphene.metrics.predictions import SCORE_CONTRAST, logits_at_contrasts, pulled_up_logits, top1, top_predictions
from phosphene.metrics.scorecard import ConceptScore, Confusion, ContrastScore, Score

# The score is taken at 0.2; the others are reported beside it, so that nobody can choose the contrast that flatters.
CONTRASTS = (0.05, 0.1, 0.15, SCORE_CONTRAST, 0.25, 0.3, 0.4)
MOST_CONFUSIONS = 3


def score_maps(
    maps: Iterable[ConceptMap],
    concepts: Sequence[Concept],
    target: Classifier,
    *,
    source: str = "source",
    device: str = "auto",
) -> tuple[Score, list[dict[str, Any]]]:
    """Classify maps of ``concepts`` by a target at all ``CONTRASTS``; return Score, top classes per map; ConceptError if it lacks one.

    Args:
        maps: Maps of at least two concepts.
        concepts: What each map is of.
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
    """Compute the :class:`Score` of a source's maps from a target's logits at ``CONTRASTS``, (contrasts, maps, classes); pure function.

    Args:
        logits: (contrasts, maps, classes), the contrasts those of ``CONTRASTS``.
        maps: The concepts of the maps.
        source: The source's name.
        target: The target's name.
    """
    at_score = logits[CONTRASTS.index(SCORE_CONTRAST)]
    sweep = tuple(_at_contrast(contrast, rows, maps) for contrast, rows in zip(CONTRASTS, logits, strict=True))
    main = sweep[CONTRASTS.index(SCORE_CONTRAST)]
    count, of = len(maps.concepts), len(maps.pulled_up)
    spread = divergences(pulled_up_logits(at_score, maps.pulled_up), range(of))
    return Score(
        source=source,
        target=target,
        m_score=main.m_score,
        interval=m_score_interval(spread, of),
        top1_concepts=main.top1_concepts,
        top1_concepts_interval=wilson(round(main.top1_concepts * count), count),
        top1_all=main.top1_all,
        top1_all_interval=wilson(round(main.top1_all * count), count),
        p_class=main.p_class,
        maps=count,
        concepts=of,
        classes=at_score.shape[1],
        per_concept=_per_concept(at_score, maps),
        contrast_sweep=sweep,
    )


def _at_contrast(contrast: float, logits: Tensor, maps: MatchedMaps) -> ContrastScore:
    """Return the ContrastScore of one contrast, from the target's logits (maps, classes): M_score, top-1 rates, mean probability."""
    pulled_up = pulled_up_logits(logits, maps.pulled_up)
    return ContrastScore(
        contrast=contrast,
        m_score=m_score_of_logits(pulled_up, range(len(maps.pulled_up))),
        top1_concepts=top1(pulled_up, [maps.pulled_up.index(side.up) for side in maps.sides]),
        top1_all=float(hits(logits, maps.targets).double().mean()),
        p_class=float(target_probabilities(logits.double(), maps.targets).mean()),
    )


def _per_concept(logits: Tensor, maps: MatchedMaps) -> tuple[ConceptScore, ...]:
    """Return a ConceptScore per concept from the target's logits (maps, classes): right ones, probability, wrong predictions."""
    best, right = predicted(logits, maps.targets).tolist(), hits(logits, maps.targets).tolist()
    probability = target_probabilities(logits.double(), maps.targets).tolist()
    positions: dict[int, list[int]] = {}
    for position, concept in enumerate(maps.concepts):
        positions.setdefault(concept.index, []).append(position)
    rows = []
    for index, own in positions.items():
        # A multi-label target that is wrong may predict none of its classes.
        wrong = Counter(best[place] for place in own if not right[place] and best[place] < len(maps.labels))
        rows.append(
            ConceptScore(
                index=index,
                label=maps.concepts[own[0]].label,
                target_index=maps.sides[own[0]].up[0],
                maps=len(own),
                right=sum(right[place] for place in own),
                p_class=sum(probability[position] for position in own) / len(own),
                misread=tuple(
                    Confusion(other, maps.labels[other], count) for other, count in wrong.most_common(MOST_CONFUSIONS)
                ),
            )
        )
    return tuple(rows)
