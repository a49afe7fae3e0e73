"""Hostile cards, names, labels and recipes: refused in one line, or shown and not obeyed."""

import json
import os

import pytest

from tests import tiny
from tests.files import contents
from tests.hostile import ESCAPE, NASTY, deep

# --- cards


CARDS = {
    "nested lists": deep(400_000),
    "10 MB of nested lists": deep(5_000_000),
    "nested tables": "[" + ".".join(["a"] * 5000) + "]",
    "nested inline tables": "x = " + "{a = " * 5000 + "1" + "}" * 5000,
    "ten million numbers": "[input]\nmean = [" + "0," * 5_000_000 + "]",
    "a name of ten million signs": f'name = "{"x" * 10_000_000}"',
    "a table that holds itself": "[input]\n[input.input]\n[input.input.input]",
    "a key that stands twice": 'name = "a"\nname = "b"',
    "dates": "name = 1979-05-27T07:32:00Z",
    "a number of a million digits": "[input]\nsize = [" + "9" * 1_000_000 + ", 16]",
    "a lone surrogate": 'name = "\\ud800"',
    "bytes of no text": "\udcff",
    "nothing": "",
}


@pytest.mark.parametrize("text", CARDS.values(), ids=CARDS)
def test_files_in_place_of_a_card(hostile, card, text):
    card.path.write_bytes(text.encode(errors="surrogateescape"))
    assert "model card" in hostile()


NAN = float("nan")
SPACES = {
    "size 0": {"size": [0, 16]},
    "negative size": {"size": [-16, -16]},
    "a thousand million pixels a side": {"size": [10**9, 10**9]},
    "a hundred thousand a side": {"size": [10**5, 10**5]},
    "a thin input": {"size": [1, 10**9]},
    "a size beyond 64 bits": {"size": [2**62, 2**62]},
    "a million channels": {"size": [16, 16], "channels": 10**6},
    "10^18 channels": {"size": [16, 16], "channels": 10**18},
    "means of NaN": {"size": [16, 16], "mean": [NAN] * 3},
    "infinite means": {"size": [16, 16], "mean": [float("inf")] * 3},
    "deviation 0": {"size": [16, 16], "std": [0.0] * 3},
    "deviation -1": {"size": [16, 16], "std": [-1.0] * 3},
    "strings": {"size": ["16", "16"]},
    "truth values": {"size": [True, True]},
    "lists of lists": {"size": [[16], [16]]},
    "a mean beyond a float": {"size": [16, 16], "mean": [2**62, 0, 0], "std": [5e-324] * 3},
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_input_spaces(hostile, card, space):
    hostile(spec=card.write(input=space).path)


@pytest.mark.parametrize(
    "field",
    [
        {"labels": "/dev/zero"},
        {"labels": "../../../../../../etc"},
        {"labels": "\0"},
        {"labels": "x" * 100_000},
        {"weights": "/dev/zero"},
        {"weights": "\0.pt"},
        {"weights": "x" * 100_000},
        {"weights": "pipe"},
        {"labels": "pipe"},
        {"factory": None, "weights": None, "exported": "pipe.pt2"},
        {"factory": None, "weights": None, "exported": "../" * 100 + "etc/passwd.onnx"},
        {"factory": None, "arch": "hf:pipe"},
        {"factory": None, "arch": "torchvision:../../nets"},
        {"factory": None, "arch": "x:y", "classes": 10**9},
        {"classes": -1},
        {"output": ESCAPE},
        {ESCAPE: "x"},
    ],
    ids=lambda field: str(field)[:40],
)
def test_fields_that_lead_elsewhere(hostile, card, field):
    for name in ("pipe", "pipe.pt2"):
        os.mkfifo(card.folder / name)
    hostile(spec=card.write(**field).path)


def test_a_pipe_in_place_of_a_card(hostile, card):
    card.path.unlink()
    os.mkfifo(card.path)
    assert "tiny.toml" in hostile()


@pytest.mark.parametrize(
    "name",
    [
        "../../../escaped",
        "/absolute/path",
        "C:\\windows",
        "..",
        "",
        " ",
        "a\nb\r\nc",
        NASTY,
        "nul\0nul",
        "\u202eright to left",
        "x" * 100_000,
        "ü" * 300,
        "-rf",
        "CON",
        "[red]markup[/red] [/nothing]",
    ],
    ids=lambda name: ascii(name)[:30],
)
def test_names(odd, card, name):
    card.write(name=name)
    run = odd()
    assert run.parent.name == "runs"
    assert run.name.isprintable()
    assert len(run.name) < 150


# --- labels


def five(first):
    return "\n".join([first, *tiny.LABELS[1:]])


@pytest.mark.parametrize(
    "label", [NASTY.replace("\r\n", " "), "../../escaped", "\u202eevil", "[/red]", "{{ 7 * 7 }}", "a\0b", "…" * 900]
)
def test_labels_are_shown_and_not_obeyed(odd, card, label):
    (card.folder / "labels.txt").write_text(five(label), encoding="utf-8")
    run = odd()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ">49<" not in page
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["jobs"][0]["label"] == label.strip()


LABELS = {
    "a million lines": "x\n" * 1_000_000,
    "too few": "one\ntwo\n",
    "no text": b"\xff\xfe\xff\n" * 5,
    "one line of 50 MB": "x" * 50_000_000,
    "a label of 5 MB": five("x" * 5_000_000),
    "nothing": "",
}
JSONS = {
    "a missing class": {"0": "a", "1": "b", "2": "c", "3": "d", "5": "e"},
    "no names": {"a": 1},
    "numbers": [1, 2, 3, 4, 5],
    "nested": [["a"]] * 5,
    "nested without end": "[" * 1_000_000,
    "the same class twice": '{"0": "a", "0": "b", "1": "c", "2": "d", "3": "e"}',
    "half of a sign": '["\\ud800", "b", "c", "d", "e"]',
    "no number": "NaN",
}


@pytest.mark.parametrize("text", LABELS.values(), ids=LABELS)
def test_label_files(hostile, card, text):
    (card.folder / "labels.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "label" in hostile()


@pytest.mark.parametrize("data", JSONS.values(), ids=JSONS)
def test_label_files_in_json(hostile, card, data):
    (card.folder / "labels.json").write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    assert "label" in hostile(spec=card.write(labels="labels.json").path)


# --- recipes and run directories


RECIPES = {
    "a batch of 10^18": "batch_size = 1000000000000000000",
    "10^30 steps": "steps = 1" + "0" * 30,
    "10^18 steps": "steps = 1000000000000000000",
    "10^12 rounds": "rounds = 1000000000000",
    "a number of a million digits": "steps = " + "9" * 1_000_000,
    "an infinite radius": "radius = inf",
    "nested lists": deep(1_000_000),
    "a path for a name": 'name = "../../../escaped"\nsteps = 0',
    "a layer of code": "xi_layer = " + json.dumps(NASTY),
}


@pytest.mark.parametrize("text", RECIPES.values(), ids=RECIPES)
def test_recipes(call, card, tmp_path, monkeypatch, limited, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    before = contents(tmp_path)
    line = call("map", card.path, "--trust", "-c", 0, "--recipe", "r.toml").complaint
    assert "recipe" in line or "xi_layer" in line
    assert contents(tmp_path) == before
    assert line.isprintable()
