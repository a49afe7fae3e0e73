"""``phosphene compare``: the classes whose maps changed most, first."""

import json
import re
import shlex

import pytest

from phosphene.formats import probability
from tests import tiny
from tests.tiny import SETTINGS


@pytest.fixture
def runs(call, tmp_path):
    """Runs of two networks with the same labels, two seeds each, the second with a class more."""
    for seed, classes in ((0, (0, 1)), (1, (0, 1, 3))):
        made = tiny.make_card(tmp_path / f"card{seed}", seed=seed).write(name=f"tiny{seed}")
        chosen = [word for one in classes for word in ("-c", one)]
        out = tmp_path / f"run {seed}"
        answer = call("map", made.path, "--trust", *chosen, "--seeds", 2, "--out", out, "--device", "cpu", *SETTINGS)
        assert answer.code == 0, answer.err
    return tmp_path / "run 0", tmp_path / "run 1"


def test_compare_prints_writes_and_counts_readings(call, runs, tmp_path):
    page = tmp_path / "compare.html"
    answer = call("compare", *runs, "--out", page, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["models"] == ["tiny0", "tiny1"]
    assert {row["label"].split(",")[0] for row in found["changes"]} == {"lion", "crane"}
    assert all(row["predictions"] is None for row in found["changes"])
    assert found["only"] == [[], ["maillot"]]
    assert "what another seed alone changes is subtracted" in found["warnings"][0]
    score = shlex.split(found["warnings"][1].partition("is unknown: ")[2])
    answer = call("compare", *runs)
    assert answer.out.count("% by images alone") == answer.out.count("not scored") == 2
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/webp") == 2 * 2 * 2
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("changed, by images alone") == text.count("<dd>not scored</dd>") == 2
    assert "seed alone changes is subtracted" in text

    one_direction = ["score", runs[1], "--target", score[score.index("--target") + 1], "--trust", "--device", "cpu"]
    assert call(*one_direction).code == 0
    said = "How each source classifies the other's maps is known in part, and the order is by one direction only: "
    assert f"{said}{shlex.join(score)}\n" in call("compare", *runs).err
    assert call(*score[1:], "--device", "cpu").code == 0
    answer = call("compare", *runs)
    assert answer.code == 0
    assert "by one direction" not in answer.err
    assert "B on A's maps" in answer.out
    assert "less the variation between seeds (two standard errors)" in answer.err
    document = json.loads(call("compare", *runs, "--out", page, "--json").out)
    assert sum("Predictions: class means" in one for one in document["warnings"]) == 1
    rows = document["changes"]
    wrong = [one for row in rows for one in (row["a_by_b"], row["b_by_a"]) if one["instead"]]
    assert wrong, "no map is misclassified, so that this shows nothing"
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    assert "less the variation between seeds" in text
    for one in wrong:
        assert one["count"] <= one["maps"] == 2
        low, high = (round(100 * end) for end in one["interval"])
        assert f", {one['count']} of 2 as {one['instead']} [{low}, {high} %]" in answer.out
        assert (
            f"it predicts {one['instead']} for {one['count']} of 2 maps (95&nbsp;% interval {low} to {high}&nbsp;%)"
            in text
        )
    assert all(0 <= row["predictions"] <= 1 for row in rows)
    assert [row["change"] for row in rows] == sorted((row["change"] for row in rows), reverse=True)
    assert all(0 <= row["a_by_b"]["p_class"] <= 1 for row in rows)


def test_a_page_is_never_written_over_a_file_of_another_kind(call, runs):
    facts = runs[0] / "run.json"
    before = facts.read_bytes()
    answer = call("compare", *runs, "--out", facts)
    assert answer.code == 2
    assert "give a name that ends with .html" in answer.complaint
    assert facts.read_bytes() == before


def test_no_class_of_one_network_has_changed_with_other_samples(call, tmp_path):
    """The network's confidence in its maps is a matter of the samples, and a warning says so."""
    for number, samples in enumerate(("demo:shapes", "synthetic:pink")):
        words = ["-c", "triangle", "-c", "heart", "-c", "flower", "--seeds", 2, "--set", "steps=20"]
        words += ["--samples", samples, "--device", "cpu", "--out", tmp_path / str(number)]
        assert call("map", "demo:shapes", *words).code == 0
    runs, page = (tmp_path / "0", tmp_path / "1"), tmp_path / "page.html"
    found = json.loads(call("compare", *runs, "--out", page, "--json").out)
    assert "Warning: the runs differ in samples, which changes every image" in found["warnings"][0]
    assert "none of whose classes has changed" in found["warnings"][1]
    assert all(row["change"] is row["images"] is row["predictions"] is None for row in found["changes"])
    assert [row["index_a"] for row in found["changes"]] == sorted(row["index_a"] for row in found["changes"])
    out = call("compare", *runs).out
    assert out.count("other samples") == out.count("same network") == 3
    for row in found["changes"]:
        assert " and ".join(map(probability, row["confidences"])) in out
    text = page.read_text(encoding="utf-8")
    assert text.count("same network: no change") == 3
    assert "<meter" not in text
    assert "Maps of one network in two runs" in text


def test_with_one_seed_each_no_percentage_is_given(call, tmp_path):
    for seed in (0, 1):
        made = tiny.make_card(tmp_path / f"card{seed}", seed=seed).write(name=f"tiny{seed}")
        words = ["-c", 0, "-c", 1, "--out", tmp_path / f"run{seed}", "--device", "cpu", *SETTINGS]
        assert call("map", made.path, "--trust", *words).code == 0
    page = tmp_path / "page.html"
    found = json.loads(call("compare", tmp_path / "run0", tmp_path / "run1", "--out", page, "--json").out)
    assert all(row["change"] is None and row["images"] is not None for row in found["changes"])
    text = page.read_text(encoding="utf-8")
    assert text.count("how much is unknown: one seed each") == 2
    assert "<meter" not in text


def test_with_one_seed_in_one_run_no_percentage_is_given(call, runs, tmp_path):
    first, second, page = *runs, tmp_path / "page.html"
    for file in first.glob("maps/*/seed-1/map.json"):
        file.unlink()
    answer = call("compare", first, second, "--out", page)
    assert "known only with two seeds per class in both runs" in answer.err
    assert "subtracted" not in answer.err
    assert answer.out.count("one seed in one run") == answer.out.count("order only") == 2
    assert " %" not in answer.out
    assert "<meter" not in page.read_text(encoding="utf-8")


def test_what_cannot_be_compared(call, runs, tmp_path):
    assert "is not a run directory" in call("compare", runs[0], tmp_path).complaint
    for file in (runs[1] / "maps").rglob("map.json"):
        file.unlink()
    assert "Missing argument 'B'. Give phosphene compare A B;" in call("compare", runs[0]).complaint
    assert "has no finished maps yet" in call("compare", *runs).complaint
