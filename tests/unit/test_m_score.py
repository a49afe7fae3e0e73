"""M_score against hand-computed cases and the slow reference; top-1 beside it."""

import math

import pytest
import torch

from phosphene.errors import ConceptError
from phosphene.metrics.m_score import m_score_of_logits
from phosphene.metrics.predictions import top1
from tests.reference import paper


def test_confident_and_distinct_gives_one_and_all_alike_one_over_l() -> None:
    assert m_score_of_logits(torch.eye(4) * 200, [0, 1, 2, 3]) == pytest.approx(1)
    assert m_score_of_logits(torch.ones(4, 9), [0, 3, 5, 8]) == pytest.approx(0.25)


def test_it_is_blind_to_labels_and_top1_is_not() -> None:
    permuted = torch.eye(3).roll(1, 0) * 200
    assert m_score_of_logits(permuted, [0, 1, 2]) == pytest.approx(1)
    assert top1(permuted, [0, 1, 2]) == 0


def test_two_maps_by_hand() -> None:
    """p = (0.9, 0.1) and (0.5, 0.5); marginal (0.7, 0.3)."""
    logits = torch.tensor([[math.log(0.9), math.log(0.1)], [0.0, 0.0]])
    kl = [0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.3), 0.5 * math.log(0.5 / 0.7) + 0.5 * math.log(0.5 / 0.3)]
    assert m_score_of_logits(logits, [0, 1]) == pytest.approx(math.exp(sum(kl) / 2) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_against_the_slow_reference(seed: int) -> None:
    torch.manual_seed(seed)
    concepts = [1, 4, 7]
    logits = torch.randn(6, 9, dtype=torch.float64) * 4
    assert m_score_of_logits(logits, concepts * 2) == pytest.approx(paper.m_score(logits, concepts))


def test_one_concept_is_refused() -> None:
    with pytest.raises(ConceptError, match="at least 2"):
        m_score_of_logits(torch.eye(3), [1, 1])


def test_top1_is_the_share_whose_class_has_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 3.0], [0.0, 5.0, 9.0]])
    assert top1(logits, [1, 2]) == 0.5
