"""What the report says of a run's checks, and where it comes from."""

import json
import re

import pytest
import torch

from phosphene.checks import CHECKS
from phosphene.checks.finding import Finding, judged
from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.recipe import Recipe
from phosphene.reports.checks import check_section
from phosphene.reports.html import environment
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.checks import read_checks, write_check
from phosphene.samples.pool import make_pool
from tests import tiny

SUBJECT = {
    "concepts": [{"index": 0, "label": tiny.LABELS[0], "seed": 0}],
    "samples": {"spec": "some samples", "sha256": "0" * 64},
}


@pytest.fixture
def run(tmp_path):
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples")
    run = RunDirectory(tmp_path / "run")
    maps = [tiny.concept_map(0), tiny.concept_map(4)]
    jobs = [(Job(one.index, one.seed), one.label) for one in maps]
    run.begin(run_facts(tiny.classifier(), Recipe(), pool, "cpu", "fp32"), jobs)
    for one in maps:
        run.write(one)
    return run


def note(run, name, *, figures=None, passed=None, explanation="So it is.", **subject):
    found = Finding(name, figures or {}, passed, explanation, 3)
    write_check(run, {**found.to_dict(), "subject": SUBJECT | subject}, run.maps_sha256())


def page(run):
    return environment().get_template("checks.html").render(checks=check_section(run, run.facts()))


def test_without_checks_there_is_no_section(run):
    assert check_section(run, run.facts()) is None


def test_findings_stand_in_the_order_of_the_checks_with_figures_as_a_table(run):
    figures = {"blocks": 5.0, "hog_limit": 0.05, "hog_at_2": -0.001, "top1_at_2": 0.25, "top1_at_other_class": 0.5}
    note(run, "samples")
    note(run, "cascade", figures=figures, passed=False, explanation="It does not depend on it.")
    first, second = (re.sub(r"\s+", " ", part) for part in page(run).split("<li>")[1:])
    assert '<h3>cascade<span class="badge bad">FAILED</span></h3>' in first
    assert f'<div class="question">{CHECKS["cascade"].question}</div>' in first
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", first)]
    assert rows[:3] == [["blocks randomised", "HOG", "top-1"], ["2", "0.00", "25 %"], ["other class", "", "50 %"]]
    assert rows[3:] == [["blocks", "5"], ["HOG limit", "0.05"]]
    assert "concepts chosen, 1 of 2 (--most): lion; samples: some samples" in first
    assert '<h3>samples<span class="badge unsure">undecided</span></h3>' in second


def test_the_page_says_it(run):
    note(
        run,
        "seeds",
        figures={"top1_at_other": 1.0, "chance": 0.2},
        passed=True,
        explanation="Other seeds <say> the same.",
    )
    note(run, "fidelity")
    html = page(run)
    assert "Other seeds &lt;say&gt; the same." in html
    assert ">passed<" in html
    assert ">figures only<" in html
    assert "concepts chosen, 1 of 2 (--most): lion; samples: some samples" in html
    assert "100 %" in html
    assert html.count("<details") == 1  # nothing to unfold where there are no figures
    assert not re.findall(r"""(?:src|href)\s*=""", html)
    assert "<script" not in html
    for opened in re.findall(r"<(ul|li|table|details|div|p|h2|h3|span|thead|tbody|tr|th|td)\b", html):
        assert html.count(f"</{opened}>") == len(re.findall(rf"<{opened}\b", html)), opened


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "{{ 7 * 7 }}"])
def test_labels_and_specs_are_text(run, label):
    concepts = [{"index": 0, "label": label, "seed": 0}]
    note(run, "seeds", figures={"a_at_b": 1.0}, concepts=concepts, samples={"spec": label, "sha256": ""})
    html = page(run)
    assert "<script>" not in html
    assert ("{{ 7 * 7 }}" in html) == ("{{" in label)


@pytest.mark.parametrize(
    ("verdicts", "mark", "words"),
    [
        ({"cascade": True, "seeds": True, "samples": None}, "unsure", "2 of 3 passed, 1 undecided"),
        ({"cascade": True, "seeds": True, "fidelity": None}, "good", "2 of 2 passed"),
        ({"cascade": True, "seeds": False, "samples": None}, "bad", "1 of 3 passed, 1 failed (seeds), 1 undecided"),
    ],
)
def test_the_line_at_the_top_is_green_only_if_every_check_with_a_rule_is_passed(run, verdicts, mark, words):
    for name, passed in verdicts.items():
        note(run, name, passed=passed)
    (line,) = check_section(run, run.facts())["glance"]
    assert line["mark"] == mark
    assert words in line["text"]


def test_the_line_at_the_top_uses_the_words_of_the_table(run):
    for name in ("cascade", "seeds"):
        note(run, name, explanation=judged(name, {}, 2, False, "Facts.", "Good.", "Bad.").explanation)
    note(run, "samples")
    note(run, "fidelity")
    (line,) = check_section(run, run.facts())["glance"]
    assert line["text"] == "Sanity checks of 1 of 2 concepts: 0 of 3 passed, 2 too few to tell, 1 undecided."
    html = page(run)
    assert html.count(">too few to tell<") == 2
    assert html.count(">undecided<") == 1
    assert html.count(">figures only<") == 1


def test_checks_without_a_rule_have_no_line_at_the_top(run):
    note(run, "fidelity")
    assert check_section(run, run.facts())["glance"] == []


def test_few_maps_can_neither_pass_nor_fail_a_check():
    found = {passed: judged("seeds", {}, 2, passed, "Facts.", "Good.", "Bad.") for passed in (True, None, False)}
    assert [one.verdict for one in found.values()] == ["too few to tell"] * 3
    assert "at least 4 classes" in found[True].explanation
    assert judged("seeds", {}, 4, True, "Facts.", "Good.", "Bad.").verdict == "passed"
    assert judged("seeds", {}, 4, False, "Facts.", "Good.", "Bad.").verdict == "FAILED"


def test_findings_of_a_check_that_is_gone_are_still_shown(run):
    note(run, "astrology", figures={"mars": 0.5})
    note(run, "seeds")
    assert [row["finding"].name for row in check_section(run, run.facts())["rows"]] == ["seeds", "astrology"]
    assert "astrology" in page(run)


def test_findings_of_maps_that_have_changed_are_not_shown(run):
    note(run, "seeds")
    assert list(read_checks(run)) == ["seeds"]
    other = tiny.concept_map(0, nu=torch.ones(3, 16, 16))
    for path in run.folder(Job(0), other.label).iterdir():
        path.unlink()
    run.write(other)
    assert check_section(run, run.facts()) is None
    note(run, "fidelity")
    assert list(read_checks(run)) == ["fidelity"]


def test_an_entry_replaces_its_own_and_no_other(run):
    note(run, "seeds", explanation="Once.")
    note(run, "fidelity")
    note(run, "seeds", explanation="Twice.")
    entries = read_checks(run)
    assert list(entries) == ["seeds", "fidelity"]
    assert entries["seeds"]["reading"] == "Twice."


def test_an_entry_of_other_maps_is_refused(run):
    with pytest.raises(RunError, match="changed while they were checked"):
        write_check(run, {**Finding("seeds", {}, None, "").to_dict(), "subject": SUBJECT}, "0" * 64)
    assert not (run.path / "checks.json").exists()


@pytest.mark.parametrize(
    ("checks", "lacks"),
    [([], "checks"), ({"seeds": 3}, "checks.seeds"), ({"seeds": {"name": "seeds"}}, "checks.seeds.figures")],
)
def test_damage_is_named(run, checks, lacks):
    (run.path / "checks.json").write_text(json.dumps({"schema": 1, "checks": checks}), encoding="utf-8")
    with pytest.raises(RunError, match=rf"checks\.json is damaged \(it lacks {lacks}\)\. Delete it and check again\."):
        read_checks(run)
