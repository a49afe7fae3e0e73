"""A regression network through the commands: mapped up and down, shown by percentiles, and refused where classes are needed."""

import json
import re
import shlex

import pytest

from tests.files import map_times

FACTORY = """\
import torch
from torch import nn


class Meter(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.scale = nn.AvgPool2d(2), nn.Parameter(torch.ones(2))

    def forward(self, x):
        means = self.pool(x).mean((2, 3))
        return torch.stack([means.mean(1), means[:, 0] - means[:, 2]], 1) * self.scale


def build():
    return Meter()
"""
CARD = """\
factory = "meter.py:build"
output = "regression"
labels = "labels.txt"

[input]
size = [16, 16]
"""
FEW = ("--set=steps=6", "--set=batch_size=4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("regression")
    for name, text in (("meter.py", FACTORY), ("meter.toml", CARD), ("labels.txt", "brightness\nwarmth, red\n")):
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture
def mapped(call, folder):
    """A run of one output both ways and another one, made once."""
    words = ("-c", "brightness", "-c", "low:brightness", "-c", "low:red")
    if not (folder / "run").exists():
        answer = call("map", folder / "meter.toml", "--trust", *words, *FEW, "--out", folder / "run")
        assert answer.code == 0, answer.err
        assert "the outputs are measurements (regression)" in answer.err
        assert "low:brightness, seed 0: percentile " in answer.out + answer.err
    return folder / "run"


def test_the_page_shows_percentiles_and_a_command_that_makes_them_again(call, mapped, folder):
    page = (mapped / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    assert page.count("<dt>percentile</dt>") == 3
    assert "<dt>confidence</dt>" not in page
    assert "of 3 maps of outputs take it beyond the 99th percentile" in page
    assert "The network's brightness for the image is above that of" in page
    assert "The network's warmth for the image is below that of" in page
    (command,) = [line for line in page.splitlines() if "phosphene map " in line]
    words = shlex.split(command[command.index("map ") :].partition("<")[0])
    assert [words[place + 1] for place, word in enumerate(words) if word == "-c"] == [
        *("brightness (0)", "low:brightness (0)", "low:warmth (1)"),
    ]
    before = map_times(mapped)
    concepts = [word for name in ("brightness (0)", "low:brightness (0)", "low:warmth (1)") for word in ("-c", name)]
    answer = call("map", folder / "meter.toml", "--trust", *concepts, *FEW, "--out", mapped, "--json")
    assert {one["label"] for one in json.loads(answer.out)["maps"]} == {
        *("brightness", "low:brightness", "low:warmth, red"),
    }
    assert map_times(mapped) == before


def test_percentiles_are_called_so_wherever_they_stand(call, mapped, folder):
    words = ("-c", "brightness", "-c", "low:brightness", "-c", "low:red")
    answer = call("map", folder / "meter.toml", "--trust", *words, *FEW, "--out", mapped, "--json")
    for one in json.loads(answer.out)["maps"]:
        assert (one["kind"], one["percentile"]) == ("output", one["p_class"])
    for path in mapped.rglob("map.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        assert (facts["kind"], facts["percentile"]) == ("output", facts["p_class"])
    page = (mapped / "report.html").read_text(encoding="utf-8")
    assert "percentile, highest first" in page
    assert "confidence, highest first" not in page
    assert "<b>Confidence</b>" not in page
    assert call("site", mapped, "--out", folder / "site").code == 0
    pages = {path.parent.name: path.read_text(encoding="utf-8") for path in (folder / "site").rglob("*.html")}
    assert set(pages) == {"site", "models", "classes"}
    for where, text in pages.items():
        assert "onfidence" not in text, where
    assert "The figure below a name is the <b>percentile</b>" in pages["site"]
    assert "<dt>outputs</dt><dd>2, of which 3 maps are shown" in pages["models"]
    assert "percentile in both" in call("compare", mapped, mapped).out


def test_all_outputs_are_pulled_up(call, folder):
    answer = call(
        "map", folder / "meter.toml", "--trust", "--all", *FEW, "--out", folder / "all", "--dry-run", "--json"
    )
    assert json.loads(answer.out)["jobs"] == 2


def test_checks_and_comparisons_work(call, mapped):
    answer = call("check", mapped, "--trust", "--only", "seeds", "--only", "diversity", "--json")
    assert answer.code == 0, answer.err
    assert {one["name"] for one in json.loads(answer.out)["findings"]} == {"seeds", "diversity"}
    page = (mapped / "report.html").read_text(encoding="utf-8")
    assert '<th scope="col">percentile</th><th scope="col">beyond the 99th percentile</th>' in page
    assert '<th scope="col">top-1</th>' not in page
    changes = json.loads(call("compare", mapped, mapped, "--json").out)["changes"]
    assert {one["label"] for one in changes} == {"brightness", "low:brightness", "low:warmth, red"}


def test_another_network_scores_the_outputs(call, mapped, folder):
    twin = (folder / "meter.toml").read_text(encoding="utf-8").replace("[16, 16]", "[12, 12]")
    (folder / "twin.toml").write_text(twin, encoding="utf-8")
    answer = call("score", mapped, "--target", folder / "twin.toml", "--trust", "--json")
    assert answer.code == 0, answer.err
    (row,) = json.loads(answer.out)["scores"]
    assert (row["m_score"], row["maps"], row["concepts"]) == (None, 3, 3)
    assert "outputs of a regression network have none" in row["m_score_note"]
    assert {one["label"] for one in row["per_concept"]} == {"brightness", "low:brightness", "low:warmth, red"}
    answer = call("score", mapped, "--target", folder / "twin.toml", "--trust", "--samples", "synthetic:noise")
    assert answer.code == 0, answer.err
    assert "beyond the 99th percentile" in answer.out
    assert "mean percentile" in answer.out
    assert "top-1" not in answer.out
    page = (mapped / "report.html").read_text(encoding="utf-8")
    assert "--samples synthetic:noise" in page
    section = page.split("What other networks measure in these maps")[1].split("<h2")[0]
    assert "Output by output" in section
    assert "mean percentile" in section
    assert "classif" not in re.sub(r"<[^>]+>", "", section)
    assert "by twin, " in page


def test_what_needs_classes_is_refused_in_one_line(call, mapped, folder):
    card = folder / "meter.toml"
    assert call("scan", card, "--trust").complaint.startswith(
        "phosphene: a scan needs classes, and the outputs of meter"
    )
    assert "shapes has classes: score them on" in call("score", mapped, "--target", "demo:shapes", "--trust").complaint
    assert "confused pairs needs classes" in call("map", card, "--trust", "--confused", 1).complaint
    assert "one by one" in call("map", card, "--trust", "-c", "brightness vs red", "--out", folder / "no").complaint
    assert 'output = "regression"' in call("map", "demo:shapes", "-c", "low:star", "--out", folder / "no").complaint
    assert not (folder / "no").exists()
    assert call("map", "demo:shapes", "-c", "star", "-c", "ring", *FEW, "--out", folder / "classes").code == 0
    line = call("score", folder / "classes", "--target", card, "--trust").complaint
    assert line.startswith(
        "phosphene: a score of maps of classes needs classes, and the outputs of meter are measurements"
    )
    assert line.endswith("give a target that has classes.")
    assert "`check` and `score` (of maps of its outputs) work" in call("scan", card, "--trust").complaint


def test_doctor_shows_values_and_no_predictions(call, folder):
    found = json.loads(call("doctor", folder / "meter.toml", "--trust", "--json").out)
    assert found["outputs"] == 2
    assert "standard deviations" in found["measurements"]
    assert "confidence" not in found
