"""How a target classifies a source's maps: ``M_score``, top-1, every concept, and how they change with contrast."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.metrics.bootstrap import m_score_interval, wilson
from phosphene.metrics.m_score import divergences, m_score_of_logits
from phosphene.metrics.matching import concepts_of, match
from phosphene.metrics.predictions import SCORE_CONTRAST, logits_at_contrasts, top1
from phosphene.metrics.scorecard import ConceptScore, Confusion, ContrastScore, Score, Scores

# The score is taken at 0.2; the others are reported beside it, so that nobody can choose the contrast that flatters.
CONTRASTS = (0.05, 0.1, 0.15, SCORE_CONTRAST, 0.25, 0.3, 0.4)
MOST_CONFUSIONS = 3


def score(
    maps: Iterable[ConceptMap],
    targets: "Classifier | Sequence[Classifier]",
    *,
    source: str = "source",
    device: str = "auto",
) -> Scores[Score]:
    """Score the maps of one classifier on others.

    Args:
        maps: Maps of at least two concepts.
        targets: The classifiers that are to classify them; their classes are matched to the maps' by label, and the
            images are resized to their input.
        source: Name of the classifier that the maps come from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns:
        One score per target: a list that displays itself in a notebook.

    Raises:
        ConceptError: fewer than two concepts, or a target lacks one of them.
        SpecError: a target takes images of another number of channels.
        NumericError: a target returns NaN or infinity.

    Example:
        >>> import phosphene as ph
        >>> net = ph.load("demo:shapes")
        >>> few = {"steps": 2, "refine_steps": 1}
        >>> maps = ph.map_concepts(net, ["star", "heart"], recipe="quick", overrides=few)
        >>> ph.score(maps, ph.load("demo:shapes-plain"))[0].maps
        2
    """
    maps = list(maps)
    concepts = [(one.index, one.label) for one in maps]
    scores: Scores[Score] = Scores()
    for target in [targets] if isinstance(targets, Classifier) else targets:
        matched = match(concepts_of(concepts), target.labels, target.name)
        with Engine(target, device=device) as engine:
            logits = logits_at_contrasts(engine, maps, CONTRASTS)
        scores.append(score_of_logits(logits, concepts, matched, target.labels, source=source, target=target.name))
    return scores


def score_of_logits(
    logits: Tensor,
    concepts: Sequence[tuple[int, str]],
    matched: Mapping[int, int],
    labels: Sequence[str],
    *,
    source: str = "source",
    target: str = "target",
) -> Score:
    """Turn a target's logits into a :class:`Score`; a pure function.

    Args:
        logits: (contrasts, maps, classes), the contrasts those of ``CONTRASTS``.
        concepts: Index and label of each map's class at the source.
        matched: The target's class of each of the source's.
        labels: The target's labels.
        source: The source's name.
        target: The target's name.
    """
    truth = [matched[index] for index, _ in concepts]
    chosen = list(matched.values())
    at_score = logits[CONTRASTS.index(SCORE_CONTRAST)]
    sweep = tuple(_at(contrast, rows, truth, chosen) for contrast, rows in zip(CONTRASTS, logits, strict=True))
    main = sweep[CONTRASTS.index(SCORE_CONTRAST)]
    maps = len(truth)
    return Score(
        source=source,
        target=target,
        m_score=main.m_score,
        interval=m_score_interval(divergences(at_score, chosen), len(chosen)),
        top1_concepts=main.top1_concepts,
        top1_concepts_interval=wilson(round(main.top1_concepts * maps), maps),
        top1_all=main.top1_all,
        top1_all_interval=wilson(round(main.top1_all * maps), maps),
        p_class=main.p_class,
        maps=maps,
        concepts=len(chosen),
        classes=at_score.shape[1],
        per_concept=_per_concept(at_score, concepts, matched, labels),
        contrast_sweep=sweep,
    )


def _at(contrast: float, logits: Tensor, truth: Sequence[int], chosen: Sequence[int]) -> ContrastScore:
    """Return both top-1 rates at one contrast."""
    return ContrastScore(
        contrast=contrast,
        m_score=m_score_of_logits(logits, chosen),
        top1_concepts=top1(logits, truth, among=chosen),
        top1_all=top1(logits, truth),
        p_class=float(_p_class(logits, truth).mean()),
    )


def _p_class(logits: Tensor, truth: Sequence[int]) -> Tensor:
    """Probability of each map's class among all classes, float64 (maps,)."""
    return logits.double().softmax(1)[torch.arange(len(truth)), torch.tensor(list(truth))]


def _per_concept(
    logits: Tensor, concepts: Sequence[tuple[int, str]], matched: Mapping[int, int], labels: Sequence[str]
) -> tuple[ConceptScore, ...]:
    """Return how the maps of each concept are classified."""
    truth = [matched[index] for index, _ in concepts]
    predicted, probability = logits.argmax(1).tolist(), _p_class(logits, truth).tolist()
    rows = []
    for index, label in concepts_of(concepts).items():
        own = [position for position, (other, _) in enumerate(concepts) if other == index]
        wrong = Counter(predicted[position] for position in own if predicted[position] != matched[index])
        rows.append(
            ConceptScore(
                index=index,
                label=label,
                target_index=matched[index],
                maps=len(own),
                right=len(own) - wrong.total(),
                p_class=sum(probability[position] for position in own) / len(own),
                misread=tuple(
                    Confusion(other, labels[other], count) for other, count in wrong.most_common(MOST_CONFUSIONS)
                ),
            )
        )
    return tuple(rows)
