"""Hierarchical labels through the commands: groups of classes as concepts, and levels side by side in one output."""

import json

import pytest

FACTORY = """\
import torch
from torch import nn


class Levels(nn.Module):
    def __init__(self, first, ends):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
        self.first, self.ends = first, ends
        generator = torch.Generator().manual_seed(3)
        for parameter in self.body.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 2)

    def forward(self, x):
        logits = self.body(x)[:, self.first :]
        return torch.cat([one.softmax(1) for one in logits.split(self.ends, 1)], 1) if self.ends else logits


def fine():
    return Levels(2, [])


def levels():
    return Levels(0, [])


def probabilities():
    return Levels(0, [2, 5])
"""
LABELS = "cat, felis\ndog\ncar\nbus\nrose\n"
CARD = """\
factory = "nets.py:{factory}"
labels = "labels.txt"
{more}

[input]
size = [16, 16]
"""
GROUPS = '[groups]\nanimal = ["dog", "felis"]\n"road vehicle" = ["car", "bus"]\n'
FEW = ("--set=steps=4", "--set=batch_size=4")


@pytest.fixture
def card(tmp_path):
    """Writes a card of one of the networks, and returns its path."""

    def write(factory, more="", labels=LABELS, name="net"):
        (tmp_path / "nets.py").write_text(FACTORY, encoding="utf-8")
        (tmp_path / "labels.txt").write_text(labels, encoding="utf-8")
        path = tmp_path / f"{name}.toml"
        path.write_text(CARD.format(factory=factory, more=more), encoding="utf-8")
        return path

    return write


def mapped(call, path, run, *concepts):
    """The maps of a run, as --json lists them."""
    words = [word for one in concepts for word in ("-c", one)]
    answer = call("map", path, "--trust", *words, *FEW, "--out", run, "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["maps"]


def test_a_group_is_the_union_of_its_members_under_its_own_name(call, card, tmp_path):
    path, run = card("fine", GROUPS), tmp_path / "run"
    maps = mapped(call, path, run, "Animal", "animal vs road vehicle", "rose + animal", "dog")
    assert {one["label"] for one in maps} == {"animal", "animal vs road vehicle", "animal + rose", "dog"}
    folders = {one.name.rpartition("-")[0] for one in (run / "maps").iterdir()}
    assert folders == {"animal", "animal-vs-road-vehicle", "animal-rose", "dog"}
    (union,) = [row for row in json.loads((run / "run.json").read_text())["jobs"] if row["label"] == "animal"]
    assert union["up"] == {"0": "cat, felis", "1": "dog"}
    assert union["groups"] == {"animal": [0, 1]}
    (again,) = mapped(call, path, run, "cat + dog")  # the same concept
    assert again["label"] == "animal"
    assert len(list(run.glob("maps/*/*/map.json"))) == 4
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "animal vs road vehicle" in page
    assert "<h2>Contrasts</h2>" in page


def test_what_follows_a_map_knows_the_group(call, card, tmp_path):
    run = tmp_path / "run"
    mapped(call, card("fine", GROUPS), run, "animal", "road vehicle", "road vehicle vs animal", "rose + animal")
    answer = call("score", run, "--target", card("fine", name="other"), "--trust", "--json")
    assert answer.code == 0, answer.err
    (row,) = json.loads(answer.out)["scores"]
    named = {one["label"] for one in row["per_concept"]}
    assert named == {"animal", "road vehicle", "road vehicle vs animal", "animal + rose"}
    answer = call("compare", run, run, "--json")
    assert {one["label"] for one in json.loads(answer.out)["changes"]} == named
    for concept in ("animal", "dog + cat", "animal + rose", "road vehicle vs animal"):
        assert "has no frames of these maps" in call("film", run, "-c", concept).complaint  # the map itself is found
    assert "has no map of 'animal vs rose'" in call("film", run, "-c", "animal vs rose").complaint


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ('dog = ["cat", "bus"]', "group 'dog' has the name of a class or of another group"),
        ('Felis = ["cat", "bus"]', "group 'Felis' has the name of a class"),
        ('pet = ["cat", "dgo"]', "group 'pet': no class is called 'dgo'. Did you mean dog"),
        ('pet = ["cat", "felis"]', "group 'pet' needs two labels or more"),
        ('pet = "cat"', "group 'pet' is 'cat': give a list of labels"),
        ('all = ["Pet", "bus"]\npet = ["cat", "dog"]', "group 'all' has 'Pet', a group, in it: a group holds labels"),
        ('pet = ["cat", "dog"]\nall = ["pet", "bus"]', "so list those of 'pet'."),
        ('pet = ["pet", "dog"]', "group 'pet' has 'pet', a group, in it"),
        ('pet = ["cat", 1.5]', "give a list of labels"),
        ('pet = ["cat", "dog"]\nanimal = ["dog", "cat"]', "group 'animal' has the classes of group 'pet'"),
        ('"3" = ["cat", "dog"]', "its name has to be words"),
        ('"pets, all" = ["cat", "dog"]', "its name has to be words"),
    ],
)
def test_groups_that_cannot_be_are_refused_in_one_line(call, card, tmp_path, groups, message):
    path = card("fine", f"[groups]\n{groups}\n")
    assert message in call("map", path, "--trust", "-c", "dog", "--out", tmp_path / "run").complaint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("concept", "message"),
    [
        ("anmal", "no class is called 'anmal'. Did you mean animal"),
        ("animal vs dog", "'dog' on both sides"),
        ("animal + road vehicle + rose", "union of all classes"),
        ("animal+rose", "'animal + rose'"),
    ],
)
def test_expressions_of_groups_that_mean_nothing_are_refused(call, card, tmp_path, concept, message):
    answer = call("map", card("fine", GROUPS), "--trust", "-c", concept, "--out", tmp_path / "run")
    assert message in answer.complaint


def test_with_several_models_the_one_that_lacks_a_concept_is_named(call, card, tmp_path):
    words = ("--trust", "--out", tmp_path / "runs")
    answer = call("map", "demo:shapes", card("fine", GROUPS), *words, "-c", "star")
    assert answer.complaint.startswith("phosphene: net: no class is called 'star'.")
    answer = call("map", card("fine", GROUPS), "demo:shapes", *words, "-c", "animal")
    assert answer.complaint.startswith("phosphene: shapes: no class is called 'animal'.")
    answer = call("map", "demo:shapes", "demo:shapes-plain", *words, "-c", "unit:stm:1")
    assert answer.complaint.startswith("phosphene: shapes: shapes has no layer 'stm'")
    answer = call("map", "demo:shapes", *words, "-c", "animal")
    assert answer.complaint.startswith("phosphene: no class is called 'animal'.")


def test_levels_side_by_side_as_probabilities_are_refused_with_the_fix(call, card, tmp_path):
    words = ("--trust", "-c", "dog", *FEW, "--out", tmp_path / "run")
    line = call("map", card("probabilities"), *words).complaint
    assert "7 values in [0, 1] whose sum is 2 for every image" in line
    assert 'choose one, output = "[0:2]" or output = "[2:7]"' in line
    answer = call("map", card("probabilities", 'output = "[2:7]"'), *words)
    assert answer.code == 0, answer.err
    assert "the network returns probabilities" in answer.err
    answer = call("map", card("fine", name="flat"), *words[:-1], tmp_path / "flat")
    sure = [
        json.loads(next(tmp_path.glob(f"{run}/maps/*/*/map.json")).read_text())["p_class"] for run in ("run", "flat")
    ]
    assert sure[0] == pytest.approx(sure[1], abs=1e-3)  # the level is that of the network of the fine classes alone


@pytest.mark.parametrize("declared", ["[2:]", "[2:7]:logits"])
def test_one_level_of_logits_is_declared(call, card, tmp_path, declared):
    words = ("--trust", "-c", "animal", *FEW, "--out", tmp_path / "run", "--json")
    assert "has 7 classes, and labels were given for 5" in call("map", card("levels"), *words).complaint
    answer = call("map", card("levels", f'output = "{declared}"\n{GROUPS}'), *words)
    assert answer.code == 0, answer.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["model"]["classes"] == 5
    other = call("map", card("levels", 'output = "[:2]"', "animal\nthing\n"), *words)
    assert "belongs to another model" in other.complaint


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("[2:8]", "returns 7 values: none, or not all, of [2:8] are there"),
        ("[7:]", "returns 7 values: none, or not all, of [7:] are there"),
        ("[4:2]", "of [4:2] are there; give a part within [0:7], [START:END] with START below END."),
        ("[1:1]", "give a part within [0:7]"),
        ("[1:7]", "has 6 classes in its part [1:7], and labels were given for 5"),
        ("2:7", "a part such as [3:7]"),
    ],
)
def test_parts_that_are_not_there_are_refused_in_one_line(call, card, tmp_path, declared, message):
    path = card("levels", f'output = "{declared}"')
    assert message in call("map", path, "--trust", "-c", "dog", "--out", tmp_path / "run").complaint


def test_a_card_that_is_written_has_groups_and_part(call, card, tmp_path):
    path = card("probabilities", f'output = "[2:]"\n{GROUPS}')
    assert call("card", path, "--trust", "--out", tmp_path / "again.toml").code == 0
    text = (tmp_path / "again.toml").read_text(encoding="utf-8")
    assert 'output = "[2:]:probabilities"' in text
    (found,) = mapped(call, tmp_path / "again.toml", tmp_path / "run", "animal vs road vehicle")
    assert found["label"] == "animal vs road vehicle"
