"""`phosphene map` with several recipes, the executors' options, and the list of maps that could not be made."""

import json
import sys

import pytest
import torch

from phosphene.engine import Engine
from tests.tiny import SHORT

SETTINGS = [f"--set={field}={value}" for field, value in SHORT.items()]


def test_several_recipes_get_a_run_each(call, card, tmp_path):
    out = tmp_path / "out"
    recipes = ["--recipe", "quick", "--recipe", "vivid", "--recipe", "quick"]
    answer = call("map", card.path, "--trust", "-c", 0, *recipes, *SETTINGS, "--out", out, "--json")
    assert answer.code == 0, answer.err
    assert [document["recipe"] for document in json.loads(answer.out)] == ["quick with changes", "vivid with changes"]
    assert sorted(path.name for path in out.iterdir()) == ["tiny-quick", "tiny-vivid"]


def test_a_dry_run_says_what_is_there_and_how_long_the_rest_takes(call, card, tmp_path):
    words = ["map", card.path, "--trust", "--all", *SETTINGS, "--out", tmp_path / "out"]
    assert call("map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", tmp_path / "out").code == 0
    document = json.loads(call(*words, "--dry-run", "--json").out)
    assert (document["jobs"], document["cached"], document["passes_left"]) == (5, 1, 4 * 40)
    assert document["seconds"] >= 0
    assert "5 maps (1 are finished), 200 passes, about" in call(*words, "--dry-run").out


def test_maps_that_cannot_be_made_are_listed_and_the_others_are_there(call, card, tmp_path, monkeypatch):
    mean_gradients, out = Engine.mean_gradients, tmp_path / "out"

    def poisoned(self, samples, nu, classes, *how):
        found = mean_gradients(self, samples, nu, classes, *how)
        return found._replace(loss=found.loss.masked_fill(torch.isin(classes, torch.tensor([1, 2])), float("nan")))

    monkeypatch.setattr(Engine, "mean_gradients", poisoned)
    answer = call("map", card.path, "--trust", "--all", *SETTINGS, "--out", out)
    assert answer.code == 2
    line = answer.err.splitlines()[-1]
    assert answer.err.count("phosphene: could not make crane (1), seed 0: ") == 1  # at once, before the others are made
    assert "2 of 5 maps could not be made in 3 tries: crane (1), seed 0: network tiny gives NaN" in line
    assert str(out / "failures.json") in line
    assert (out / "report.html").exists()
    rows = json.loads((out / "failures.json").read_text(encoding="utf-8"))["failures"]
    assert [(row["index"], row["tries"]) for row in rows] == [(1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--gpus", "0.5"], "executor ray"), (["--workers", "0"], "--workers"), (["--executor", "slurm"], "executor")],
)
def test_what_no_executor_can_do_is_refused_before_any_work(call, card, tmp_path, words, says):
    answer = call("map", card.path, "--trust", "--all", *words, "--out", tmp_path / "out")
    assert answer.code == 2
    assert says in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["--executor", "ray"], ["--workers", "2"]])
def test_without_ray_the_extra_is_named(call, card, tmp_path, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "ray", None)
    line = call("map", card.path, "--trust", "--all", *words, "--out", tmp_path / "out").complaint
    assert "pip install 'phosphene[ray]'" in line


@pytest.mark.slow
def test_more_than_the_machine_has_is_refused_where_ray_is_started(run, card, tmp_path, monkeypatch):
    """Ray itself would wait for it for ever."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = ["map", card.path, "--trust", "-c", 0, *SETTINGS, "--executor", "ray", "--out", tmp_path / "out"]
    line = run(*words, "--threads", 1024).complaint_after_progress
    assert "a worker asks for 1024 CPUs, and Ray has only " in line
    assert line.endswith("on this machine: ask for fewer threads or GPUs per worker.")
