"""A scan in words."""

from phosphene.report.scan_words import chance, round_odds

TEN = {"tested": 10, "num_classes": 10, "references": []}


def test_odds_are_rounded_down_and_have_an_end():
    assert [round_odds(p) for p in (8.2e-6, 0.0004, 0.001, 1e-30)] == [100_000, 2_000, 1_000, 1_000_000]
    assert chance(8.2e-6, TEN).startswith("fewer than one in 100,000 clean networks")
    assert chance(0.32, TEN).startswith("32 % of clean networks")


def test_a_null_model_of_few_networks_is_called_so():
    many = {"tested": 8, "num_classes": 1_001, "references": []}
    assert "clean networks, as far as a few of them tell, would have" in chance(0.012, many)
    for found in ({**many, "references": [{"name": "clean"}]}, {"num_classes": 10, "references": []}):
        assert chance(0.012, found).startswith("1 % of clean networks would have")
