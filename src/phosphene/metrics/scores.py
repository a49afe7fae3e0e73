"""How a target classifies a source's maps: ``M_score``, top-1, every concept, and how they change with contrast."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.engine.targets import hits, predicted, target_probabilities
from phosphene.engine.units import MOST_SAMPLES, UnitClassifier
from phosphene.errors import SamplesError
from phosphene.metrics.bootstrap import m_score_interval, wilson
from phosphene.metrics.m_score import divergences, m_score_of_logits
from phosphene.metrics.matching import MatchedMaps, match_maps
from phosphene.metrics.predictions import (
    SCORE_CONTRAST,
    logits_at_contrasts,
    pulled_up_logits,
    resized,
    top1,
    top_predictions,
)
from phosphene.metrics.scorecard import ConceptScore, Confusion, ContrastScore, Score
from phosphene.samples.pool import SamplePool

# The score is taken at 0.2; the others are reported beside it, so that nobody can choose the contrast that flatters.
CONTRASTS = (0.05, 0.1, 0.15, SCORE_CONTRAST, 0.25, 0.3, 0.4)
MOST_CONFUSIONS = 3


def score_maps(
    maps: Iterable[ConceptMap],
    concepts: Sequence[Concept],
    target: Classifier,
    *,
    samples: "SamplePool | None" = None,
    source: str = "source",
    device: str = "auto",
) -> tuple[Score, list[dict[str, Any]]]:
    """Score maps of ``concepts`` by a target; return the Score and its most probable classes per map.

    Args:
        maps: The maps.
        concepts: What each map is of.
        target: The classifier that is to classify them; its classes are matched to the maps' by label, and the images
            are resized to its input.
        samples: Samples of the source's input size, needed for outputs: the target's percentiles are over the first 512.
        source: Name of the classifier that the maps come from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns:
        The score, and the target's most probable classes for each map: see :func:`top_predictions`; of outputs, which
        are no classes, none.

    Raises:
        ConceptError: there are no maps, or the target lacks one of the concepts.
        SamplesError: the maps are of outputs, and no samples are given.
        SpecError: the target takes images of another number of channels.
        NumericError: the target returns NaN or infinity.
    """
    matches = match_maps(concepts, target)
    if matches.outputs and samples is None:
        raise SamplesError("outputs of a regression are scored by the target's values for samples: give samples.")
    with Engine(target, device=device) as engine:
        map_engine = engine
        if matches.outputs and samples is not None:
            map_engine = engine.with_units(matches.outputs, resized(samples.pixels[:MOST_SAMPLES], target), alone=True)
        logits = logits_at_contrasts(map_engine, maps, CONTRASTS)
    network, targets = map_engine.classifier, matches.targets
    percentiles = None
    if isinstance(network, UnitClassifier):
        percentiles = torch.stack([network.confidences(rows.double(), targets) for rows in logits])
    score = score_of_logits(logits, matches, percentiles, source=source, target=target.name)
    top = [] if matches.outputs else top_predictions(logits[CONTRASTS.index(SCORE_CONTRAST)], matches)
    return score, top


def score_of_logits(
    logits: Tensor,
    maps: MatchedMaps,
    percentiles: "Tensor | None" = None,
    *,
    source: str = "source",
    target: str = "target",
) -> Score:
    """Return the :class:`Score` of a source's maps from a target's logits at ``CONTRASTS``.

    Args:
        logits: (contrasts, maps, classes); for maps of outputs (contrasts, maps, outputs + maps): see :class:`UnitClassifier`.
        maps: The concepts of the maps.
        percentiles: Of maps of outputs, each map's percentile among the target's values for samples, (contrasts, maps).
        source: The source's name.
        target: The target's name.
    """
    if percentiles is None:
        percentiles = torch.stack([target_probabilities(rows.double(), maps.targets) for rows in logits])
    position = CONTRASTS.index(SCORE_CONTRAST)
    sweep = tuple(map(partial(_at_contrast, maps), CONTRASTS, logits, percentiles))
    main = sweep[position]
    num_maps, num_sets, contrasts = len(maps.concepts), len(maps.pulled_up), sum(maps.is_contrast)
    contrast_hits = hits(logits[position], maps.targets)[maps.is_contrast]
    interval = None
    if num_sets > 1:
        set_logits = pulled_up_logits(logits[position], maps.pulled_up)
        interval = m_score_interval(divergences(set_logits, range(num_sets)), num_sets)
    top1_concepts = main.top1_concepts
    return Score(
        source=source,
        target=target,
        m_score=main.m_score,
        interval=interval,
        top1_concepts=top1_concepts,
        top1_concepts_interval=None if top1_concepts is None else wilson(round(top1_concepts * num_maps), num_maps),
        top1_all=main.top1_all,
        top1_all_interval=wilson(round(main.top1_all * sum(maps.is_rated)), sum(maps.is_rated)),
        p_class=main.p_class,
        maps=num_maps,
        concepts=num_sets or len({concept.index for concept in maps.concepts}),
        classes=len(maps.labels),
        per_concept=_per_concept(logits[position], percentiles[position], maps),
        contrast_sweep=sweep,
        multi_label=maps.multi_label and not maps.outputs,
        contrasts=contrasts,
        top1_contrasts=float(contrast_hits.double().mean()) if contrasts else None,
        top1_contrasts_interval=wilson(int(contrast_hits.sum()), contrasts) if contrasts else None,
    )


def _at_contrast(maps: MatchedMaps, contrast: float, logits: Tensor, confidences: Tensor) -> ContrastScore:
    """Return the ContrastScore of one contrast from logits (maps, classes) and confidences (maps,)."""
    m_score = top1_concepts = None
    if len(maps.pulled_up) > 1:
        pulled_up = pulled_up_logits(logits, maps.pulled_up)
        m_score = m_score_of_logits(pulled_up, range(len(maps.pulled_up)))
        top1_concepts = top1(pulled_up, [maps.pulled_up.index(side.up) for side in maps.sides])
    return ContrastScore(
        contrast=contrast,
        m_score=m_score,
        top1_concepts=top1_concepts,
        top1_all=float(hits(logits, maps.targets)[maps.is_rated].double().mean()),
        p_class=float(confidences[maps.is_rated].mean()),
    )


def _per_concept(logits: Tensor, confidences: Tensor, maps: MatchedMaps) -> tuple[ConceptScore, ...]:
    """Return a ConceptScore per concept from logits (maps, classes) and confidences (maps,)."""
    predictions, is_right = predicted(logits, maps.targets).tolist(), hits(logits, maps.targets).tolist()
    probability = confidences.tolist()
    target_indices = [output.channel or 0 for output in maps.outputs] or [side.up[0] for side in maps.sides]
    positions: dict[int, list[int]] = {}
    for position, concept in enumerate(maps.concepts):
        positions.setdefault(concept.index, []).append(position)
    rows = []
    for index, concept_positions in positions.items():
        # A multi-label target that is wrong may predict none of its classes; an output has no class to be taken for.
        confusions = Counter(
            predictions[position]
            for position in concept_positions
            if not is_right[position] and predictions[position] < len(maps.labels)
        )
        rows.append(
            ConceptScore(
                index=index,
                label=maps.concepts[concept_positions[0]].label,
                target_index=target_indices[concept_positions[0]],
                maps=len(concept_positions),
                right=sum(is_right[position] for position in concept_positions),
                p_class=sum(probability[position] for position in concept_positions) / len(concept_positions),
                misread=tuple(
                    Confusion(other, maps.labels[other], count)
                    for other, count in confusions.most_common(MOST_CONFUSIONS)
                ),
            )
        )
    return tuple(rows)
