"""``M_score`` (Eqs. 3 to 5 of Akhtar & Jalwana, arXiv 2303.17836): do other classifiers understand the maps?"""

import math
from collections.abc import Sequence

from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.errors import ConceptError
from phosphene.metrics.reading import read_maps

higher_is_better = True


def m_score_of_logits(logits: Tensor, concepts: Sequence[int]) -> float:
    """Return ``exp(mean KL(p(y | map) || p(y))) / L``, in [1 / L, 1], L concepts.

    The softmax is over the L concepts alone, the marginal is the mean over the maps. Like the Inception Score it is
    blind to labels: a target with permuted classes scores the same. Read top-1 beside it.

    Args:
        logits: The target's answer to each map's picture, (maps, classes).
        concepts: The L classes.

    Raises:
        ConceptError: fewer than two different concepts; the score says nothing then.

    Example:
        >>> import torch
        >>> m_score_of_logits(torch.eye(3) * 100, [0, 1, 2])
        1.0
    """
    if len(set(concepts)) < 2:
        raise ConceptError("M_score compares concepts: at least 2 different ones are needed.")
    chosen = sorted(set(concepts))
    log_p = logits.double()[:, chosen].log_softmax(1)
    log_marginal = log_p.logsumexp(0) - math.log(len(log_p))
    divergence = (log_p.exp() * (log_p - log_marginal)).sum(1).mean()
    return min(float(divergence.exp()) / len(chosen), 1.0)


def m_score(maps: Sequence[ConceptMap], target: Classifier, *, device: str = "auto") -> float:
    """Return ``M_score(target | source of the maps)``, in [1 / L, 1]; the target has the source's labels.

    Args:
        maps: Maps of at least two concepts.
        target: The classifier that reads them.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """
    with Engine(target, device=device) as engine:
        logits = read_maps(engine, maps)
    return m_score_of_logits(logits, [one.index for one in maps])
