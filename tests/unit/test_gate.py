"""What of scores and findings falls short of what a gate asks for."""

from pathlib import Path

import pytest

from phosphene.checks import Finding
from phosphene.checks.finding import TOO_FEW
from phosphene.errors import ArgumentError
from phosphene.metrics.scorecard import ConceptScore, Scores
from phosphene.workflows.check import CheckPlan, Findings
from phosphene.workflows.judged_maps import JudgedMaps
from phosphene.workflows.score import RunScore


def score(right, m_score=0.5, target="judge"):
    """The score of ten maps of one concept, ``right`` of them recognised."""
    return RunScore(
        source="maker",
        target=target,
        m_score=m_score,
        interval=None,
        top1_concepts=None,
        top1_concepts_interval=None,
        top1_all=right / 10,
        top1_all_interval=(0.0, 1.0),
        p_class=0.5,
        maps=10,
        concepts=1,
        classes=5,
        per_concept=(ConceptScore(0, "lion", 0, 10, right, 0.5, ()),),
        contrast_sweep=(),
        run=Path("runs/gate"),
        recipe="quick",
        target_spec=target,
        target_sha256="",
        maps_sha256="",
    )


def test_each_target_has_to_reach_the_minimum():
    scores = Scores([score(8), score(7, target="strict"), score(9), score(0, target="blind")])
    assert scores.below(min_top1=0.8) == [
        "strict recognises 7 of 10 maps of runs/gate (the least top-1 is 0.8)",
        "blind recognises 0 of 10 maps of runs/gate (the least top-1 is 0.8)",
    ]
    assert scores.below() == []


@pytest.mark.parametrize("minimum", [80, -1, float("nan"), 1.0001, None])
def test_a_minimum_that_is_no_share_is_refused(minimum):
    for name in ("min_top1", "min_m_score"):
        with pytest.raises(ArgumentError, match=f"^{minimum} is no share: give a number from 0 to 1, such as 0.8"):
            Scores([score(8)]).below(**{name: minimum})


def test_m_score_has_a_minimum_of_its_own_which_a_score_without_it_does_not_reach():
    scores = Scores([score(0, 0.5), score(0, 0.49996), score(0, None)])
    assert scores.below(min_m_score=0.5) == [
        "M_score of judge on runs/gate is 0.5000 (the least is 0.5)",
        "M_score of judge on runs/gate is missing (the least is 0.5)",
    ]
    assert len(scores.below(min_top1=0.1, min_m_score=0.5)) == 5


@pytest.mark.parametrize(
    ("name", "passed", "explanation", "expected"),
    [
        ("seeds", True, "Fine.", []),
        ("seeds", False, "Bad.", ["seeds: FAILED"]),
        ("seeds", None, "It could not be judged.", ["seeds: undecided"]),
        ("seeds", None, f"{TOO_FEW}: check more.", ["seeds: too few to tell"]),
        ("fidelity", None, "Figures.", []),
    ],
)
def test_a_check_with_a_rule_has_to_be_passed(name, passed, explanation, expected):
    findings = Findings(CheckPlan(JudgedMaps.of([]), None, ()))
    findings += [Finding("cascade", {}, True, "Fine."), Finding(name, {}, passed, explanation)]
    assert findings.not_passed == expected
