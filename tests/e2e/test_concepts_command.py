"""Unions and contrasts through the commands: mapped, scored, compared, shown, and refused in one line."""

import json

import pytest

from tests.files import map_times

FEW = ("--set=steps=4", "--set=batch_size=4")
MAPPED = ("star vs heart", "heart vs star", "ring + polka dots", "star")


@pytest.fixture(scope="module")
def contrasts(tmp_path_factory):
    """Where the run of these concepts goes."""
    return tmp_path_factory.mktemp("contrasts") / "run"


@pytest.fixture
def mapped(call, contrasts):
    """A run with unions, contrasts and a class, made once."""
    if not contrasts.exists():
        words = [word for one in MAPPED for word in ("-c", one)]
        assert call("map", "demo:shapes", *words, *FEW, "--out", contrasts).code == 0
    return contrasts


def test_a_second_command_makes_nothing_again(call, mapped):
    before = map_times(mapped)
    assert len(before) == 4
    answer = call("map", "demo:shapes", "-c", "polka dots + ring", *FEW, "--out", mapped, "--json")
    (found,) = json.loads(answer.out)["maps"]
    assert found["label"] == "ring + polka dots"
    assert map_times(mapped) == before


def test_another_network_scores_each_concept_by_its_own_rule(call, mapped):
    answer = call("score", mapped, "--target", "demo:shapes-plain", "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    (row,) = document["scores"]
    assert any("among the concepts each stands for its left side" in line for line in document["warnings"])
    assert row["contrasts"] == 2
    assert row["concepts"] == 3  # the star and the star told from the heart pull up the same
    by_label = {one["label"]: one for one in row["per_concept"]}
    assert set(by_label) == set(MAPPED)
    for one in by_label.values():
        assert (one["right"] == 1) == (not one["misread"])
    contrast = by_label["star vs heart"]
    assert (contrast["p_class"] > 0.5) == (contrast["right"] == 1)
    page = (mapped / "report.html").read_text(encoding="utf-8")
    assert "<h2>Contrasts</h2>" in page
    assert "top-1 among the classes of its two sides" in page
    assert '<th scope="col">correct</th>' in page


def test_the_run_is_compared_shown_and_filmed(call, mapped, tmp_path):
    answer = call("compare", mapped, mapped, "--json")
    assert {one["label"] for one in json.loads(answer.out)["changes"]} == set(MAPPED)
    assert call("compare", mapped, mapped).out.split()[0] == "concept"
    assert call("site", mapped, "--out", tmp_path / "site").code == 0
    assert len(list((tmp_path / "site" / "classes").glob("star-vs-heart-*.html"))) == 1
    answer = call("film", mapped, "-c", "heart + star")
    assert "has no map of 'heart + star': it has 0 (star), star vs heart" in answer.err


def test_checks_say_what_they_do_not_judge(call, mapped):
    answer = call("check", mapped, "--only", "permuted-labels", "--only", "fidelity", "--json")
    assert answer.code == 0, answer.err
    found = {one["name"]: one for one in json.loads(answer.out)["findings"]}
    assert "this run has unions, contrasts" in str(found["permuted-labels"])
    assert 0 <= found["fidelity"]["figures"]["p_class_at_0.2"] <= 1


def test_of_many_confused_pairs_the_first_are_named(call, tmp_path):
    answer = call("map", "demo:shapes", "--confused", 500, "--dry-run", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    lines = [line for line in answer.err.splitlines() if " confuses " in line or "further pairs" in line]
    assert len(lines) == 11
    assert "and 56 further pairs" in lines[-1]


def test_the_most_confused_pairs_both_ways(call, tmp_path):
    answer = call("map", "demo:shapes", "--confused", 2, *FEW, "--out", tmp_path / "run", "--json")
    assert answer.code == 0, answer.err
    labels = [one["label"] for one in json.loads(answer.out)["maps"]]
    assert len(labels) == 4
    sides = [label.split(" vs ") for label in labels]
    assert sorted(sides) == sorted(side[::-1] for side in sides)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-c", "star + stra"], "no class is called 'stra'. Did you mean star"),
        (["-c", "star vs star"], "'star' on both sides"),
        (["-c", "star vs"], "'star vs' lacks a name: write NAME + NAME, or NAME vs NAME"),
        (["-c", "+ star"], "'+ star' lacks a name"),
        (["-c", "star + + ring"], "'+ ring' lacks a name"),
        (["-c", "star vs ring vs heart"], "more than one ' vs '"),
        (["-c", " + ".join(map(str, range(12)))], "union of all classes"),
        (["--confused", "1", "--samples", "synthetic:noise"], "confused pairs need labelled samples"),
        (["--confused", "1", "-c", "star"], "confused pairs are mapped in place of concepts"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_one_line(call, tmp_path, words, message):
    answer = call("map", "demo:shapes", *words, "--out", tmp_path / "run")
    assert message in answer.complaint
    assert not (tmp_path / "run").exists()
