"""A scan in words."""

from phosphene.report.scan_words import chance, round_odds


def test_odds_are_rounded_down_and_have_an_end():
    assert [round_odds(p) for p in (8.2e-6, 0.0004, 0.001, 1e-30)] == [100_000, 2_000, 1_000, 1_000_000]
    assert chance(8.2e-6).startswith("fewer than one in 100,000 clean networks")
    assert chance(0.32).startswith("32 % of clean networks")
