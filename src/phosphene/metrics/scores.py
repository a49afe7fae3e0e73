"""What a target makes of a source's maps: ``M_score``, top-1, every concept, and how they move with contrast."""

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
from phosphene.metrics.reading import SCORE_CONTRAST, read_sweep, top1
from phosphene.metrics.scorecard import ConceptReading, Contrasted, Misreading, Score, Scores

# The score is taken at 0.2; the others stand beside it, so that nobody can choose the contrast that flatters.
CONTRASTS = (0.05, 0.1, 0.15, SCORE_CONTRAST, 0.25, 0.3, 0.4)
MOST_MISREADINGS = 3


def score(
    maps: Iterable[ConceptMap],
    targets: "Classifier | Sequence[Classifier]",
    *,
    source: str = "source",
    device: str = "auto",
) -> Scores:
    """Score the maps of one classifier on others.

    Args:
        maps: Maps of at least two concepts.
        targets: The classifiers that read them; their classes are matched to the maps' by label, and the pictures are
            resized to their input.
        source: What to call the classifier that the maps come from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns:
        One score a target: a list that shows itself in a notebook.

    Raises:
        ConceptError: fewer than two concepts, or a target lacks one of them.
        SpecError: a target takes pictures of another number of channels.
        NumericError: a target answers with NaN or infinity.

    Example:
        >>> import phosphene as ph
        >>> net = ph.load("demo:shapes")
        >>> few = {"steps": 2, "refine_steps": 1}
        >>> maps = ph.map_concepts(net, ["star", "heart"], recipe="quick", overrides=few)
        >>> ph.score(maps, ph.load("demo:shapes-plain"))[0].maps
        2
    """
    kept = list(maps)
    concepts = [(one.index, one.label) for one in kept]
    every = [targets] if isinstance(targets, Classifier) else targets
    return Scores(score_one(kept, concepts, target, source=source, device=device) for target in every)


def score_one(
    maps: Iterable[ConceptMap],
    concepts: Sequence[tuple[int, str]],
    target: Classifier,
    *,
    source: str = "source",
    device: str = "auto",
) -> Score:
    """Score maps that need not be in memory all at once: they are read one after the other, once.

    Args:
        maps: The maps.
        concepts: Index and label of each.
        target: The classifier that reads them.
        source: What to call the classifier that the maps come from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """
    matched = match(concepts_of(concepts), target.labels, target.name)
    with Engine(target, device=device) as engine:
        logits = read_sweep(engine, maps, CONTRASTS)
    return score_of_logits(logits, concepts, matched, target.labels, source=source, target=target.name)


def score_of_logits(
    logits: Tensor,
    concepts: Sequence[tuple[int, str]],
    matched: Mapping[int, int],
    labels: Sequence[str],
    *,
    source: str = "source",
    target: str = "target",
) -> Score:
    """Turn a target's answers into a :class:`Score`; a pure function.

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
    own = sweep[CONTRASTS.index(SCORE_CONTRAST)]
    maps = len(truth)
    return Score(
        source=source,
        target=target,
        m_score=own.m_score,
        interval=m_score_interval(divergences(at_score, chosen), len(chosen)),
        top1_concepts=own.top1_concepts,
        top1_concepts_interval=wilson(round(own.top1_concepts * maps), maps),
        top1_all=own.top1_all,
        top1_all_interval=wilson(round(own.top1_all * maps), maps),
        p_class=own.p_class,
        maps=maps,
        concepts=len(chosen),
        classes=at_score.shape[1],
        per_concept=_per_concept(at_score, concepts, matched, labels),
        contrast_sweep=sweep,
    )


def _at(contrast: float, logits: Tensor, truth: Sequence[int], chosen: Sequence[int]) -> Contrasted:
    return Contrasted(
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
) -> tuple[ConceptReading, ...]:
    truth = [matched[index] for index, _ in concepts]
    read, probability = logits.argmax(1).tolist(), _p_class(logits, truth).tolist()
    rows = []
    for index, label in concepts_of(concepts).items():
        own = [position for position, (other, _) in enumerate(concepts) if other == index]
        wrong = Counter(read[position] for position in own if read[position] != matched[index])
        rows.append(
            ConceptReading(
                index=index,
                label=label,
                target_index=matched[index],
                maps=len(own),
                right=len(own) - wrong.total(),
                p_class=sum(probability[position] for position in own) / len(own),
                misread=tuple(
                    Misreading(other, labels[other], count) for other, count in wrong.most_common(MOST_MISREADINGS)
                ),
            )
        )
    return tuple(rows)
