"""Units through the commands: listed, mapped, checked, shown, and refused in one line."""

import json
import re
import shlex

import numpy as np
import pytest

from tests.files import map_times

FEW = ("--set=steps=4", "--set=batch_size=4")
UNITS = ("unit:blocks.1:3,5", "unit:head:0")


@pytest.fixture
def mapped(call, folder):
    """A run of three units, two seeds each, made once."""
    if not (folder / "run").exists():
        words = [word for one in UNITS for word in ("-c", one)]
        answer = call("map", "demo:shapes", *words, *FEW, "--seeds", 2, "--out", folder / "run")
        assert answer.code == 0, answer.err
        assert "unit:blocks.1:5, seed 1: percentile " in answer.out + answer.err
    return folder / "run"


def test_layers_are_listed_with_their_shapes(call):
    answer = call("layers", "demo:shapes", "--json")
    by_name = {one["name"]: one for one in json.loads(answer.out)}
    assert by_name["blocks.1"] == {"name": "blocks.1", "kind": "ResidualBlock", "shape": [64, 12, 12], "units": 64}
    assert by_name["head"]["shape"] == [12]
    lines = call("layers", "demo:shapes").out.splitlines()
    assert len(lines) == len(by_name)
    assert next(line.split() for line in lines if line.startswith("blocks.1 "))[1:] == [
        *("ResidualBlock", "64", "x", "12", "x", "12", "64", "units"),
    ]
    assert "no demo model is called 'nosuch'" in call("layers", "demo:nosuch").complaint


def test_the_page_shows_percentiles_and_a_command_that_makes_them_again(call, mapped):
    page = (mapped / "report.html").read_text(encoding="utf-8")
    assert page.count("<dt>percentile</dt>") == 6
    assert "<dt>confidence</dt>" not in page
    assert "maps of units activate it above the 99th percentile of samples" in page
    assert "recognises the" not in page
    (command,) = [line for line in page.replace("&#39;", "'").splitlines() if "phosphene map demo:shapes" in line]
    words = shlex.split(command[command.index("map demo:shapes") :].partition("<")[0])
    assert [words[place + 1] for place, word in enumerate(words) if word == "-c"] == [
        *("unit:blocks.1:3", "unit:blocks.1:5", "unit:head:0"),
    ]
    before = map_times(mapped)
    assert len(before) == 6
    answer = call(*words[: words.index("--out")], "--out", mapped, "--json")
    assert len(json.loads(answer.out)["maps"]) == 6
    assert map_times(mapped) == before


def test_a_direction_whose_file_is_gone_stays_in_its_run(call, tmp_path):
    file = tmp_path / "arrow.npy"
    np.save(file, np.arange(64, dtype="f4"))
    concept = f"direction:{file}@blocks.1"
    words = ("map", "demo:shapes", "-c", concept, "-c", "star", *FEW, "--out", tmp_path / "run")
    assert call(*words).code == 0
    file.unlink()
    before = map_times(tmp_path / "run")
    answer = call(*words)
    assert answer.code == 0, answer.err
    assert "all cached" in answer.out
    assert call(*words, "--seeds", "2", "-c", "ring").code == 0
    after = map_times(tmp_path / "run")
    assert len(after) == 6
    assert before.items() <= after.items()
    assert f"direction file {file} does not exist" in call(*words[:-1], tmp_path / "other").complaint


def test_other_networks_do_not_score_them(call, mapped, folder):
    line = call("score", mapped, "--target", "demo:shapes-plain").complaint
    assert "has maps of units alone" in line
    assert f"`phosphene check {mapped} --only seeds`" in line
    mixed = folder / "mixed"
    assert call("map", "demo:shapes", "-c", "star", "-c", "ring", "-c", "unit:stem:1", *FEW, "--out", mixed).code == 0
    answer = call("score", mixed, "--target", "demo:shapes-plain", "--json")
    (row,) = json.loads(answer.out)["scores"]
    assert {one["label"] for one in row["per_concept"]} == {"star", "ring"}
    assert "1 map of a unit is left out" in answer.err
    page = (mixed / "report.html").read_text(encoding="utf-8")
    assert (page.count("<dt>percentile</dt>"), page.count("<dt>confidence</dt>")) == (1, 2)
    assert "recognises the class in" in page
    assert "confidence or percentile, highest first" in page
    assert call("site", mixed, "--out", folder / "mixed-site").code == 0
    index = (folder / "mixed-site" / "index.html").read_text(encoding="utf-8")
    assert index.count("<small>percentile ") == 1
    assert "of units and outputs, as it says there, it is the <b>percentile</b>" in index
    maps = {
        one["label"]: one
        for one in json.loads(
            call("map", "demo:shapes", "-c", "star", "-c", "unit:stem:1", *FEW, "--out", mixed, "--json").out
        )["maps"]
    }
    assert (maps["star"]["kind"], "percentile" in maps["star"]) == ("class", False)
    assert (maps["unit:stem:1"]["kind"], "percentile" in maps["unit:stem:1"]) == ("unit", True)


def test_checks_judge_what_can_be_judged(call, mapped):
    answer = call("check", mapped, "--only", "seeds", "--only", "cascade", "--only", "diversity", "--json")
    assert answer.code == 0, answer.err
    found = {one["name"]: one for one in json.loads(answer.out)["findings"]}
    assert (
        "maps from other seeds raise their unit above the 99th percentile of the samples" in found["seeds"]["reading"]
    )
    assert not re.search(r"\bclass", found["seeds"]["reading"] + found["diversity"]["reading"])
    assert "units of inner layers, which need not depend on the last blocks" in found["cascade"]["reading"]
    assert "random-weights randomises all" in found["cascade"]["reading"]
    assert found["diversity"]["figures"]["seeds"] == 2


def test_they_are_compared_and_shown(call, mapped, folder):
    answer = call("compare", mapped, mapped, "--json")
    assert {one["label"] for one in json.loads(answer.out)["changes"]} == {
        *("unit:blocks.1:3", "unit:blocks.1:5", "unit:head:0"),
    }
    assert call("site", mapped, "--out", folder / "site").code == 0
    (page,) = (folder / "site" / "classes").glob("unit-blocks-1-5-*.html")
    assert page.read_text(encoding="utf-8").count("<dt>percentile</dt>") == 2
    assert "no frames" in call("film", mapped, "-c", "unit:blocks.1:5").complaint


def test_the_most_active_become_channels(call, tmp_path):
    words = (
        "demo:shapes",
        "-c",
        "unit:blocks.0:*",
        "--most",
        3,
        *FEW,
        "--out",
        tmp_path / "run",
        "--dry-run",
        "--json",
    )
    assert json.loads(call("map", *words).out)["jobs"] == 3


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        ("unit:blocks.1", "write unit:LAYER:3"),
        ("unit:blocks.1:64", "name one from 0 to 63"),
        ("unit:bloks.1:3", "Did you mean blocks.1"),
        ("unit:nosuch:3", "`phosphene layers demo:shapes` lists them"),
        ("direction:missing.npy@head", "direction file missing.npy does not exist. Put it there, or correct the path"),
        ("direction:missing.csv@head", "has to be one of .npy, .npz, .pt, .safetensors"),
        ("unit:nosuch:3 + star", "is not a unit"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(call, tmp_path, unit, why):
    assert why in call("map", "demo:shapes", "-c", unit, "--out", tmp_path / "run").complaint
    assert not (tmp_path / "run").exists()
