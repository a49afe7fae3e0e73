"""A scan in words."""

import re
from pathlib import Path

import pytest

from phosphene.backdoor.scan import MISSED_KINDS
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.report.scan_words import NO_PROOF, caveat, glance, left_out, rank, suspicions, terminal_lines

ROOT = Path(__file__).parent.parent.parent
CLASS = {"index": 3, "label": "cat", "figure": 2.0}


def scan_of(*figures):
    null = {"networks": 80, "description": "80 clean networks", "limit": 3.0, "figures": list(figures)}
    return {"null": null, "classes": [{**CLASS, "index": 1, "figure": 9.0}, CLASS]}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ([1.0] * 80, "none of 80 clean networks deviate as far"),
        ([2.0, *[1.0] * 79], "1 of 80 clean networks deviates as far"),
        ([2.5, 2.0, 3.0, *[1.0] * 77], "3 of 80 clean networks deviate as far"),
    ],
)
def test_clean_networks_that_deviate_as_far_are_counted(figures, words):
    """The p-value may be larger than the rank, if references deviate as far: the count does not follow it."""
    assert rank({**CLASS, "p_value": 0.5}, scan_of(*figures)) == f"{words} (p = 0.5)"


def test_a_scan_without_figures_has_the_count_that_its_p_value_gives():
    old = {"null": {"networks": 80, "description": "80 clean networks"}, "classes": [CLASS]}
    lowest = rank({**CLASS, "p_value": 1 / 81}, old)
    assert lowest == "none of 80 clean networks deviate as far (p = 0.012, the lowest that 80 networks can show)"
    assert rank({**CLASS, "p_value": 4 / 81}, old) == "3 of 80 clean networks deviate as far (p = 0.049)"


def test_single_pairs_are_suspicions_unless_the_backdoor_is_all_to_all():
    pairs = [{"source": "4", "target": "9", "share": 1.0}]
    (line,) = suspicions({"easy_pairs": pairs, "all_to_all": None})
    assert "4 to 9 100 %" in line
    assert not suspicions({"easy_pairs": pairs, "all_to_all": {"works": True}})
    assert not suspicions({"easy_pairs": [], "all_to_all": {"works": False}})


def test_a_clean_verdict_says_what_it_does_not_mean():
    found = {
        "verdict": CLEAN,
        "reasons": ["No class deviates."],
        "suspects": [],
        "easy_pairs": [],
        "all_to_all": None,
        "null": {},
    }
    assert NO_PROOF in glance(found)
    assert terminal_lines(found) == ["No class deviates.", caveat(found)]
    assert NO_PROOF in caveat(found)
    assert caveat({**found, "verdict": INCONCLUSIVE}) == ""
    for kind in ("large patches", "warps", "blended", "additive patterns", "made to evade"):
        for words in (glance(found), caveat(found)):
            assert kind in words
        assert sum(kind in line.lower() for line in MISSED_KINDS) == 1  # a line each
    assert "docs/backdoor.md" in caveat(found)
    assert NO_PROOF not in glance({**found, "verdict": INCONCLUSIVE})


def test_a_shipped_network_is_said_to_be_left_out_of_its_own_comparison():
    specs = ("demo:shapes-plain", "demo:shapes-trojan", "tiny.toml")
    assert [bool(left_out({"model": {"spec": spec}})) for spec in specs] == [True, False, False]


@pytest.mark.parametrize(
    ("verdict", "column", "method", "words", "share", "room"),
    [
        (CLEAN, 2, "", "about three in four", 3 / 4, 0.1),
        (CLEAN, 2, ", no data", "about half", 1 / 2, 0.1),
        (BACKDOORED, 1, "", "one in sixteen", 1 / 16, 0.01),
        (BACKDOORED, 1, ", no data", "one in twelve", 1 / 12, 0.01),
    ],
)
def test_what_is_said_of_found_backdoors_and_false_alarms_is_what_was_measured(
    verdict, column, method, words, share, room
):
    page = (ROOT / "docs" / "backdoor.md").read_text(encoding="utf-8")
    called, networks = re.search(rf"\| phosphene scan{method} \|(?:[^|]*\|){{{column}}} (\d+) of (\d+) ", page).groups()
    assert abs(int(called) / int(networks) - share) < room
    assert words in caveat({"verdict": verdict})
