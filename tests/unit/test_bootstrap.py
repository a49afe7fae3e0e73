"""Intervals: what they hold, how wide they are, and that a bootstrap which drops concepts would be wrong."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phosphene.metrics import bootstrap
from phosphene.metrics.bootstrap import m_score_interval, wilson
from phosphene.metrics.m_score import divergences, m_score_of_logits


@settings(max_examples=60, deadline=None)
@given(
    maps=st.integers(2, 30),
    classes=st.integers(2, 9),
    scale=st.floats(0, 200),
    seed=st.integers(0, 2**31),
)
def test_the_interval_holds_the_estimate_and_stays_in_range(maps, classes, scale, seed):
    logits = torch.randn(maps, classes, generator=torch.Generator().manual_seed(seed)) * scale
    concepts = range(classes)
    low, high = m_score_interval(divergences(logits, concepts), classes, draws=50)
    assert 1 / classes <= low <= m_score_of_logits(logits, concepts) <= high <= 1


def test_perfect_maps_are_not_marked_down_for_being_drawn_twice():
    logits = torch.eye(10) * 200
    assert m_score_interval(divergences(logits, range(10)), 10) == (1, 1)
    generator = torch.Generator().manual_seed(0)  # what resampling the maps themselves would say
    naive = [m_score_of_logits(logits[torch.randint(10, (10,), generator=generator)], range(10)) for _ in range(100)]
    assert max(naive) < 1
    assert sum(naive) / 100 == pytest.approx(0.6, abs=0.05)


def test_maps_that_are_all_alike():
    assert m_score_interval(divergences(torch.ones(6, 4), range(4)), 4) == (0.25, 0.25)


@pytest.mark.parametrize("seed", range(8))
def test_few_draws_leave_the_estimate_inside(seed):
    values = torch.rand(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = m_score_interval(values, 4, draws=1, seed=seed)
    assert low <= float(values.mean().exp()) / 4 <= high


def test_a_mean_of_two_values_by_hand():
    """Half of the maps diverge by 0, half by log 4: the mean is binomial, and its quantiles are known."""
    values = torch.tensor([0.0] * 50 + [math.log(4)] * 50)
    low, high = m_score_interval(values, 4, draws=20000)
    # 2.5 % and 97.5 % of Binomial(100, 1/2) lie at 40 and 60 hits
    assert low == pytest.approx(4**0.40 / 4, rel=0.015)
    assert high == pytest.approx(4**0.60 / 4, rel=0.015)


def test_more_maps_make_it_narrower_and_the_same_maps_the_same():
    torch.manual_seed(0)
    values = torch.rand(400) * 2
    few, many = m_score_interval(values[:20], 8), m_score_interval(values, 8)
    assert many[1] - many[0] < (few[1] - few[0]) / 2
    assert m_score_interval(values, 8) == many
    assert m_score_interval(values, 8, seed=1) != many


def test_it_covers_the_score_of_the_population():
    """Of 200 samples of 40 maps, about 95 % of the intervals hold the score of the whole population."""
    generator = torch.Generator().manual_seed(3)
    population = torch.randn(4000, 6, generator=generator) * 3
    truth = m_score_of_logits(population, range(6))
    inside = 0
    for _ in range(200):
        sample = population[torch.randint(4000, (40,), generator=generator)]
        low, high = m_score_interval(divergences(sample, range(6)), 6, draws=300)
        inside += low <= truth <= high
    assert 0.85 <= inside / 200 <= 0.99


def test_many_maps_are_drawn_in_parts(monkeypatch):
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(bootstrap, "BATCH", 50 * 7)  # 7 draws at a time; 2,000 is no multiple
    drawn = []
    randint = torch.randint
    monkeypatch.setattr(torch, "randint", lambda most, size, **keys: drawn.append(size) or randint(most, size, **keys))
    low, high = m_score_interval(values, 5)
    assert low < high
    assert sum(size[0] for size in drawn) == 2000
    assert max(size[0] for size in drawn) == 7


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_against_published_values(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=5e-5)


@given(count=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_in_range(count, share):
    hits = round(share * count)
    low, high = wilson(hits, count)
    assert 0 <= low <= hits / count <= high <= 1
    assert low < high
    assert wilson(count - hits, count) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("hits", "count"), [(0, 0), (3, 2), (-1, 4)])
def test_wilson_of_no_share(hits, count):
    with pytest.raises(ValueError, match="hits of"):
        wilson(hits, count)
