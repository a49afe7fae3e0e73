"""Eqs. 3 to 5 once more, in eighty decimal digits, so that extreme logits have an exact answer too."""

from collections.abc import Sequence
from decimal import Decimal, localcontext

import pytest
import torch

from phosphene.metrics.m_score import divergences, m_score_of_logits
from tests.reference import paper


def exact_m_score(logits: Sequence[Sequence[float]], concepts: Sequence[int]) -> float:
    """The paper's text, term by term: Eq. 3 over the L concepts, Eq. 4 their mean over the maps, Eq. 5."""
    with localcontext(prec=80):
        conditional = []
        for row in logits:
            powers = [(Decimal(row[c]) - Decimal(max(row))).exp() for c in concepts]
            conditional.append([power / sum(powers) for power in powers])
        marginal = [sum(column) / len(logits) for column in zip(*conditional, strict=True)]
        total = Decimal(0)
        for p in conditional:
            total += sum(a * (a / b).ln() for a, b in zip(p, marginal, strict=True) if a)
        return float((total / len(logits)).exp() / len(concepts))


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("seed", range(4))
def test_random_logits(scale, seed):
    torch.manual_seed(seed)
    logits = torch.randn(12, 9, dtype=torch.float64) * scale
    concepts = [8, 1, 4, 6]
    wanted = exact_m_score(logits.tolist(), concepts)
    assert m_score_of_logits(logits, concepts) == pytest.approx(wanted, abs=1e-9)
    assert m_score_of_logits(logits, concepts * 3) == pytest.approx(wanted, abs=1e-9)  # a class a map will do
    if scale < 1e3:  # beyond, the plain one underflows
        assert paper.m_score(logits, concepts) == pytest.approx(wanted, abs=1e-9)


def test_a_map_that_is_out_of_reach_of_the_others():
    logits = [[1e5, 0.0, -1e5], [0.0, 1e-3, 0.0], [-800.0, 800.0, 0.0], [0.0, 0.0, 1e30]]
    wanted = exact_m_score(logits, [0, 1, 2])
    assert m_score_of_logits(torch.tensor(logits, dtype=torch.float64), [0, 1, 2]) == pytest.approx(wanted, abs=1e-9)


def test_float32_logits_are_not_summed_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(500, 40) * 8
    wanted = exact_m_score(logits.tolist(), range(40))
    assert m_score_of_logits(logits, range(40)) == pytest.approx(wanted, abs=1e-9)


def test_the_divergences_are_those_that_the_score_averages():
    torch.manual_seed(1)
    logits = torch.randn(7, 5, dtype=torch.float64) * 3
    found = divergences(logits, [0, 2, 3])
    conditional = [paper.softmax([row[c] for c in (0, 2, 3)]) for row in logits.tolist()]
    marginal = [sum(column) / 7 for column in zip(*conditional, strict=True)]
    assert found.tolist() == pytest.approx([paper.kullback_leibler(p, marginal) for p in conditional], abs=1e-12)
