"""``M_score`` (Eqs. 3 to 5 of Akhtar & Jalwana, arXiv 2303.17836): do other classifiers recognise the maps?"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from phosphene.arguments import Device, Model, as_list, to_classifier
from phosphene.checked import checked
from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.errors import ConceptError, describe
from phosphene.metrics.matching import classes_of, match_maps
from phosphene.metrics.predictions import logits_of_maps, pulled_up_logits


def divergences(logits: Tensor, concepts: Sequence[int]) -> Tensor:
    """Return each map's ``KL(p(y | map) || p(y))`` over L concepts in nats, a float64 tensor (maps,).

    Args:
        logits: The target's logits for each map's image, (maps, classes).
        concepts: The L classes; repetitions do not count.

    Raises:
        ConceptError: no maps, or fewer than two different concepts, which leave nothing to compare.
    """
    columns = sorted(set(concepts))
    _require_several(len(columns))
    if len(logits) == 0:
        raise ConceptError("M_score is over maps: there are none.")
    log_p = logits.detach().cpu().double()[:, columns].log_softmax(1)  # Eq. 3
    log_marginal = log_p.logsumexp(0) - math.log(len(log_p))  # Eq. 4
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_marginal), 0).sum(1)


def _require_several(concepts: int) -> None:
    """Raise ConceptError if ``concepts``, the number of different ones, is below 2."""
    if concepts < 2:
        raise ConceptError("M_score compares concepts: at least 2 different ones are needed; map more of them.")


def m_score_of_logits(logits: Tensor, concepts: Sequence[int]) -> float:
    """Return the ``M_score`` of a target's logits for maps: ``exp(mean KL(p(y | map) || p(y))) / L``.

    It is in [1 / L, 1], and y is among the L ``concepts``.

    The softmax is over the L concepts alone, the marginal is the mean over the maps. Like the Inception Score it
    ignores labels: a target with permuted classes scores the same. Compare top-1 as well.

    Args:
        logits: The target's logits for each map's image, (maps, classes).
        concepts: The L classes; repetitions do not count.

    Raises:
        ConceptError: no maps, or fewer than two different concepts, which leave nothing to compare.

    Example:
        >>> import torch
        >>> m_score_of_logits(torch.eye(3) * 100, [0, 1, 2])
        1.0
    """
    return m_score_of_divergence(divergences(logits, concepts).mean(), len(set(concepts)))


def m_score_of_divergence(divergence: Tensor, concepts: int) -> float:
    """Return the ``M_score`` of a mean divergence over ``concepts`` concepts (Eq. 5).

    ``divergence`` is in nats, a 0-dimensional tensor; the score is in [1 / concepts, 1].
    """
    return min(max(float(divergence.exp()) / concepts, 1 / concepts), 1.0)  # rounding may exceed the bounds


@checked
def m_score(maps: Iterable[ConceptMap], target: Model, *, device: Device = "auto", trust: bool = False) -> float:
    """Return the ``M_score``, in [1 / L, 1], of maps of L concepts that a target classifies.

    Which labels it gives them makes no difference.

    A union has one logit, the log-sum-exp of its classes' logits, and a contrast that of its left side: ``M_score``
    asks what the image shows. What it is told from has no part in it, so maps that pull up the same count as one concept.

    Args:
        maps: Maps of at least two concepts of one classifier.
        target: The classifier that is to classify them, or its spec; its classes are matched to the maps' by label.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        trust: Allow code that came with the target to run.

    Raises:
        ConceptError: fewer than two concepts, the target lacks one of them, some are units, or what is given are no maps.
        SpecError: the target is no model, or takes images of another number of channels.
    """
    items = as_list(maps)
    for one in items:
        if not isinstance(one, ConceptMap):
            raise ConceptError(f"M_score is of maps, not of {describe(one)}: of a run give phosphene.open_run(PATH).")
    concepts = [one.concept for one in items]
    if any(one.is_inner_unit for one in concepts):
        raise ConceptError("M_score is of maps of classes, and some of these are of units: leave them out.")
    classifier = to_classifier(target, trust=trust, classes=list(classes_of(concepts).values()))
    sets = match_maps(concepts, classifier).pulled_up
    _require_several(len(sets))
    with Engine(classifier, device=str(device)) as engine:
        logits = logits_of_maps(engine, items)
    return m_score_of_logits(pulled_up_logits(logits, sets), range(len(sets)))
