"""A scan in words."""

import json
import re
from pathlib import Path

import pytest

from phosphene.backdoor.not_tested import MISSED_KINDS
from phosphene.backdoor.null import Null
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.metrics.bootstrap import wilson
from phosphene.reports.scan_caveats import NO_PROOF, caveat, not_a_rate
from phosphene.reports.scan_words import effect, glance, headline, left_out, named, rank, suspicions, terminal_lines

WHOLE = {"tested": 10, "num_classes": 10, "all_to_all": {"works": False}, "settings": {"pairs": False}}
ROOT = Path(__file__).parent.parent.parent
CLASS = {"index": 3, "label": "cat", "figure": 2.0}


def scan_of(*figures):
    null = {"networks": 80, "description": "80 clean networks", "limit": 3.0, "figures": list(figures)}
    return {"null": null, "classes": [{**CLASS, "index": 1, "figure": 9.0}, CLASS], "references": []}


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


def test_a_class_without_a_label_is_named_by_its_index_alone():
    assert [named({"index": 14, "label": label}) for label in ("class 14", "", "stop, sign")] == [
        "14",
        "14",
        "stop (14)",
    ]


def test_references_that_deviate_as_far_are_counted_apart():
    found = {**scan_of(*[1.0] * 78, 3.0, 1.0), "references": [{}, {}]}
    assert rank({**CLASS, "p_value": 0.5}, found).startswith(
        "1 of 80 clean networks deviates as far, among them 1 of 2 references (p"
    )


def test_a_scan_without_figures_has_the_count_that_its_p_value_gives():
    old = {"null": {"networks": 80, "description": "80 clean networks"}, "classes": [CLASS], "references": []}
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
        "null": {},
        **WHOLE,
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


def test_a_clean_verdict_on_some_classes_says_on_how_many_and_what_was_not_searched():
    found = {"verdict": CLEAN, "suspects": [], "warnings": ["The input is doubtful."], **WHOLE}
    assert headline(found)[0] == "No backdoor was found in this network."
    assert glance(found) == f"No backdoor was found in this network. {NO_PROOF} The input is doubtful."
    found |= {"tested": 12, "num_classes": 1001, "all_to_all": None}
    assert "found in the 12 of 1,001 classes of this network that were tested." in headline(found)[0]
    not_searched = "Not searched at all: backdoors to the other 989 classes, all-to-all backdoors, pairs of classes."
    assert not_searched in glance(found)
    assert not_searched in caveat(found)


@pytest.mark.parametrize(
    ("asr", "following", "works", "said"),
    [
        (0.7, 0.1, False, " So it does not work: that takes 80 % or more."),
        (0.9, 0.7, True, " It counts as working even so, because p is below half of alpha (0.025)"),
        (
            0.9,
            0.7,
            False,
            " So it does not work: the next class exceeds 50 %, and p is not below half of alpha (0.025).",
        ),
        (0.9, 0.1, True, "reaches 10 %."),
    ],
)
def test_why_a_candidate_counts_as_working_is_said_where_its_shares_do_not_say_it(asr, following, works, said):
    suspect = {"additive": False, "asr": asr, "tried": 50, "interval": [0.6, 1.0], "works": works, **CLASS}
    text = effect({**suspect, "next": {"label": "dog", "asr": following}}, {"alpha": 0.05})
    assert said in text
    assert text.endswith(said) or "exceed 50 %." in text


def test_a_shipped_network_is_said_to_be_left_out_of_its_own_comparison():
    specs = ("demo:shapes-plain", "demo:shapes-trojan", "tiny.toml")
    assert [bool(left_out({"model": {"spec": spec}})) for spec in specs] == [True, False, False]


def test_counts_of_small_networks_are_not_given_for_networks_of_many_classes():
    for verdict in (CLEAN, BACKDOORED):
        small, many = (
            caveat({"verdict": verdict, **WHOLE, "num_classes": classes, "tested": classes}) for classes in (64, 65)
        )
        assert "small" in small
        assert "1,001" not in small
        assert "small" not in many
        assert "docs/imagenet-trojan.md" in many
    assert "small" not in not_a_rate({"null": {"networks": 21}, "num_classes": 1001})
    assert not_a_rate({"null": {}, **WHOLE}) == ""


def test_what_is_said_of_found_backdoors_and_false_alarms_is_what_was_measured():
    """The counts in the words are those of docs/backdoor.md, whose tables come from the stored scans."""
    page = (ROOT / "docs" / "backdoor.md").read_text(encoding="utf-8")

    def counts(method, column):
        """Called, and networks, in a column of the table of methods."""
        row = re.search(rf"\| phosphene scan{method} \|(?:[^|]*\|){{{column}}} (\d+) of (\d+) ", page)
        return row.groups()

    found, clean = caveat({"verdict": CLEAN, **WHOLE}), caveat({"verdict": BACKDOORED, **WHOLE})
    called, networks = counts("", 2)
    low, high = wilson(int(called), int(networks))
    assert f"Of {networks} small networks" in found
    assert f"called {called} backdoored and named the right class ({100 * low:.0f} to {100 * high:.0f} %)" in found
    assert f"without natural samples {' of '.join(counts(', no data', 2))}." in found
    called, networks = counts("", 1)
    assert f"Of {networks} small clean networks, the scan called {called} backdoored" in clean
    for variant in ("other samples and seed", "no data"):
        assert f" {' of '.join(counts(f', {variant}', 1))}" in clean


def test_what_is_said_of_kinds_and_p_values_is_what_was_measured():
    """Counted from the stored scans of both splits; the words that stand for shares have room."""
    stored = json.loads((ROOT / "benchmarks" / "results" / "backdoor.json").read_text(encoding="utf-8"))
    both = [*stored["report"], *stored["develop"]]

    def called(rows):
        """How many of the networks are called backdoored."""
        return sum(row["natural"]["verdict"] == BACKDOORED for row in rows)

    def missed(*kinds):
        """Share of networks of these kinds that are not called backdoored."""
        rows = [row for row in both if row["truth"]["kind"] in kinds]
        return 1 - called(rows) / len(rows)

    for kind in ("adaptive", "source-specific"):
        assert missed(kind) > 0.8  # "nearly always"
    for kind in ("large patch", "warp", "blended", "additive"):
        assert 0.35 < missed(kind) < 0.65  # "about half of the time"
    clean = [row for row in stored["report"] if row["truth"]["kind"] == "clean"]
    drawn = [row for row in clean if row["truth"]["data"] in ("drawn", "emblems")]
    words, words_on_p = caveat({"verdict": BACKDOORED, **WHOLE}), not_a_rate({"null": {"networks": 80}, **WHOLE})
    assert f"{called(drawn)} of {len(drawn)} that were trained on drawings" in words
    assert called(clean) == called(drawn)
    assert f"none of {len(clean) - len(drawn)} others" in words
    p = [row["natural"]["p_value"] for row in clean]
    assert f"of {len(p)} other small clean networks, {sum(one < 0.05 for one in p)} had p below 0.05" in words_on_p
    assert min(p) > 1.5 / (len(Null.of(10, natural=True)) + 1)
    assert "and none the lowest p" in words_on_p
    clean = [row for row in both if row["truth"]["kind"] == "clean"]
    largest = sum(row["natural"]["deviations"]["margin"] >= 3 for row in clean)
    page = (ROOT / "src/phosphene/reports/templates/scan.html").read_text(encoding="utf-8")
    assert f"{largest} of {len(clean)} clean networks reaches 3" in page
