"""A scan in words."""

from phosphene.report.scan_words import chance, suspicions

FOUND = {"null": {"networks": 80, "description": "80 clean networks", "limit": 3.0}}


def test_a_p_value_is_said_as_a_rank():
    assert chance(1 / 81, FOUND) == "no network of 80 clean networks deviates as far (p = 0.012)"
    assert chance(4 / 81, FOUND) == "3 of 80 clean networks deviates as far (p = 0.049)"


def test_single_pairs_are_suspicions_unless_there_is_a_pattern():
    pairs = {"pattern": False, "easiest": [{"source": "4", "target": "9", "share": 1.0}]}
    (line,) = suspicions({"pairs": pairs})
    assert "4 to 9 100 %" in line
    assert not suspicions({"pairs": {**pairs, "pattern": True}})
    assert not suspicions({"pairs": None})
