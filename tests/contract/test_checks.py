"""What every registered check must do, on a tiny network and by the real mapper. New ones are covered as they come."""

import inspect
import math
import re

import pytest

from phosphene.checks import CHECKS, CheckContext, Finding, Request, choose, examine
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.progress import ProgressDisplay
from phosphene.recipe import Recipe
from phosphene.samples import load_samples
from phosphene.workflows.check import CheckPlan, run_checks
from phosphene.workflows.judged_maps import JudgedMaps
from tests import tiny

RECIPE = Recipe(name="short", sign_test=False, **tiny.SHORT)


def make_context(classes=4, seeds=(0,), **options):
    classifier = tiny.classifier()
    pool = load_samples("synthetic:mixed", classifier.input.shape)
    with Engine(classifier, device="cpu") as engine:
        maps = map_jobs(engine, pool, [Job(index, seed) for index in range(classes) for seed in seeds], RECIPE)
    return CheckContext(classifier, pool, RECIPE, maps, most=2, device="cpu", **options)


@pytest.mark.parametrize("name", list(CHECKS))
class TestChecks:
    def test_is_described_and_documented(self, name, call):
        check = CHECKS[name]
        assert check.question
        assert "\n" not in check.question
        assert not check.question.endswith(".")
        assert inspect.getdoc(inspect.getmodule(check.find))
        for function in (check.requests, check.find):
            assert list(inspect.signature(function).parameters) == ["context"]
            assert inspect.getdoc(function)
        assert name in re.sub(r"\s+", "", call("check", "--help").out)

    @pytest.mark.parametrize("classes", [1, 4])
    @pytest.mark.parametrize("seeds", [(0,), (2, 5)])
    @pytest.mark.parametrize("same_samples", [True, False])
    def test_finds_something_finite_in_plain_words_for_what_it_said_it_needs(self, name, classes, seeds, same_samples):
        context = make_context(classes, seeds, same_samples=same_samples)
        needs = CHECKS[name].requests(context)
        assert all(isinstance(one, Request) for one in needs)
        found = examine(name, context)
        assert set(context.made) == set(needs)
        assert found.cost == len(set(needs))
        assert found.name == name
        assert found.passed in (True, False, None)
        assert all(isinstance(key, str) and math.isfinite(value) for key, value in found.figures.items())
        assert Finding.from_dict(found.to_dict()) == found
        assert found.explanation.endswith(".")
        assert found.explanation[0].isupper()
        assert "\n" not in found.explanation
        assert "nan" not in found.explanation.lower().split()
        assert 1 <= len(re.findall(r"[.] [A-Z]|[.]$", found.explanation)) <= 4
        assert len(found.explanation) < 600
        if CHECKS[name].needs and name != "diversity" and classes > 1:
            for reference in ("other_class", "other_class_p95", "other_seed"):
                assert {"hog", "ssim", "spectrum"} <= set(found.conditions[reference])

    def test_says_the_same_again(self, name):
        assert examine(name, make_context()) == examine(name, make_context())

    def test_leaves_the_network_and_the_maps_alone(self, name):
        context = make_context()
        state = {key: value.clone() for key, value in context.classifier.module.state_dict().items()}
        maps = [one.nu.clone() for one in context.maps]
        examine(name, context)
        assert all(value.equal(state[key]) for key, value in context.classifier.module.state_dict().items())
        assert all(one.nu.equal(before) for one, before in zip(context.maps, maps, strict=True))
        assert not any(part._forward_hooks for part in context.classifier.module.modules())


def test_all_of_them_in_one_call():
    context = make_context()
    plan = CheckPlan(JudgedMaps.of(context.maps), context, tuple(choose()))
    found = run_checks(plan, ProgressDisplay("check", shown=False))
    assert [one.name for one in found] == list(CHECKS)


def test_those_that_make_no_maps_come_first():
    context = make_context()
    costs = [len(check.requests(context)) for check in CHECKS.values()]
    free = [cost == 0 for cost in costs]
    assert free == sorted(free, reverse=True)
