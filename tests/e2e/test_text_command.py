"""Texts through the commands: mapped, made again by the report's line, scored, checked, compared, and refused in one line."""

import html
import json
import shlex

import pytest

from phosphene.reports.sarif import place_of
from phosphene.runs import RunDirectory
from tests import two_towers
from tests.files import map_times

FEW = ("--set=steps=4", "--set=batch_size=4")
CONCEPTS = ("-c", "text:a red star", "-c", "text:something blue", "-c", "text:a red star vs text:a blue star")


@pytest.fixture
def mapped(call, folder):
    """A run of two texts and a contrast, made once."""
    if not (folder / "run").exists():
        answer = call("map", "demo:shapes-text", *CONCEPTS, *FEW, "--out", folder / "run", "--json")
        assert answer.code == 0, answer.err
        assert {one["label"] for one in json.loads(answer.out)["maps"]} == {
            *("a red star", "something blue", "a red star vs a blue star"),
        }
    return folder / "run"


def test_the_line_in_the_report_makes_them_again(call, mapped):
    page = html.unescape((mapped / "report.html").read_text(encoding="utf-8"))
    (command,) = [line for line in page.splitlines() if "phosphene map 'demo:shapes-text#something blue'" in line]
    words = shlex.split(command[command.index("map 'demo") :].partition("<")[0])
    before = map_times(mapped)
    answer = call(*words[: words.index("--out")], "--out", mapped, "--json")
    assert len(json.loads(answer.out)["maps"]) == 3
    assert map_times(mapped) == before


def test_the_report_lists_what_a_text_was_told_from(call, mapped, folder):
    texts = json.loads((mapped / "run.json").read_text(encoding="utf-8"))["model"]["texts"]
    assert {"a red star", "a blue star", "something blue"} <= set(texts)
    page = html.unescape((mapped / "report.html").read_text(encoding="utf-8"))
    assert f'<details class="fold"><summary>the {len(texts)} texts</summary>' in page
    assert "; ".join(texts) in page


def test_the_command_that_made_them_goes_on(call, mapped):
    before = map_times(mapped)
    assert call("map", "demo:shapes-text", *CONCEPTS, *FEW, "--out", mapped).code == 0
    assert map_times(mapped) == before
    other = call("map", "demo:shapes-text", "-c", "text:something red", *FEW, "--out", mapped)
    assert "of another model" in other.complaint or "another run directory" in other.complaint


def test_they_are_scored_checked_and_compared(call, mapped, folder):
    answer = call("score", mapped, "--target", "demo:shapes-text#something blue;something black", "--json")
    (row,) = json.loads(answer.out)["scores"]
    assert {one["label"] for one in row["per_concept"]} == {"a red star", "something blue", "a red star vs a blue star"}
    answer = call("check", mapped, "--only", "seeds", "--json")
    assert answer.code == 0, answer.err
    assert {one["label"] for one in json.loads(call("compare", mapped, mapped, "--json").out)["changes"]} == {
        *("a red star", "something blue", "a red star vs a blue star"),
    }
    assert "has classes" in call("score", mapped, "--target", "demo:shapes#a;b").complaint
    assert "or, of a two-tower model, texts after '#'" in call("score", mapped, "--target", "demo:shapes").complaint


def test_a_target_without_texts_takes_those_of_the_run(call, mapped, tmp_path):
    answer = call("score", mapped, "--target", two_towers.write_card(tmp_path), "--trust", "--json")
    assert answer.code == 0, answer.err
    (row,) = json.loads(answer.out)["scores"]
    assert row["target_spec"].endswith("letters.toml#a red star;something blue;a blue star")


def test_a_single_text_is_scored_by_its_own_value(call, tmp_path):
    card, run = two_towers.write_card(tmp_path), tmp_path / "run"
    answer = call("map", card, "--trust", "-c", "text:a red star", *FEW, "--out", run)
    assert answer.code == 0, answer.err
    answer = call("score", run, "--target", card, "--trust", "--json")
    assert answer.code == 0, answer.err
    (row,) = json.loads(answer.out)["scores"]
    assert (row["m_score"], row["classes"], row["per_concept"][0]["label"]) == (None, 1, "a red star")
    line = call("score", run, "--target", "demo:shapes-text").complaint
    assert "or of a single text, and shapes-text has 66 texts" in line


@pytest.mark.slow
def test_checks_that_change_the_weights_keep_the_texts(call, mapped):
    answer = call("check", mapped, "--only", "random-weights", "--most", "2", "--json")
    assert answer.code == 0, answer.err
    assert "random-weights" in answer.out


@pytest.mark.slow
def test_workers_load_the_texts_of_the_spec(call, tmp_path):
    pytest.importorskip("ray")
    texts = ("-c", "text:something red", "-c", "text:something blue")
    out = tmp_path / "run"
    answer = call(
        "map", "demo:shapes-text", *texts, *FEW, "--executor", "ray", "--workers", "1", "--out", out, "--json"
    )
    assert answer.code == 0, answer.err
    assert len(map_times(out)) == 2


def test_what_is_wrong_with_texts_is_said_in_the_words_of_the_command(call, tmp_path):
    words = ("map", two_towers.write_card(tmp_path), "--trust", "--out", tmp_path / "run", "-c")
    assert ": 'text:r + text:g' is a union of all classes" in call(*words, "text:r + text:g").complaint
    assert (
        "'text:r vs text:r' cannot be mapped: one text has nothing to be told from"
        in call(*words, "text:r vs text:r").complaint
    )


def test_units_need_no_texts(call, tmp_path):
    card = two_towers.write_card(tmp_path)
    answer = call("layers", card, "--trust", "--json")
    assert answer.code == 0, answer.err
    assert "images.0" in {one["name"] for one in json.loads(answer.out)}
    answer = call("doctor", card, "--trust", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["outputs"] == 3
    words = ("map", card, "--trust", "-c", "unit:images.0:*", "--most", "2", *FEW, "--out", tmp_path / "run")
    answer = call(*words)
    assert answer.code == 0, answer.err
    assert "no texts are named" in answer.err
    answer = call("check", tmp_path / "run", "--trust", "--only", "seeds", "--json")
    assert answer.code == 0, answer.err
    assert "cached" in call(*words).out
    line = call("map", card, "--trust", "-c", "unit:images.0:1", "-c", "star", "--out", tmp_path / "other").complaint
    assert "has no classes: name some, -c text:star -c text:ANOTHER" in line
    for number in ("0", "low:0", "output 2"):  # of the embedding, which no text stands for
        line = call("map", card, "--trust", "-c", number, "--out", tmp_path / "other").complaint
        assert "has no classes: name some" in line
    assert (
        "a scan needs classes, and letters has none: no texts" in call("scan", card, "--trust").complaint_after_progress
    )


def test_a_target_that_lacks_classes_of_the_run_is_told_the_texts(call, tmp_path):
    names = ("-c", "star", "-c", "heart")
    assert (
        call("map", "demo:shapes", *names, "--set=steps=1", "--set=batch_size=2", "--out", tmp_path / "run").code == 0
    )
    line = call("score", tmp_path / "run", "--target", "demo:shapes-text").complaint
    (spec,) = [word for word in shlex.split(line) if "#" in word]
    assert spec == "demo:shapes-text#star;heart,"
    answer = call("score", tmp_path / "run", "--target", spec.rstrip(","), "--json")
    assert answer.code == 0, answer.err


def test_a_list_of_classes_is_read_from_a_file(call, folder):
    names = folder / "names.txt"
    names.write_text("star\nring\ncross\n", encoding="utf-8")
    spec = f"demo:shapes-text#{names};a picture of a {{}}"
    answer = call("map", spec, "-c", "cross", *FEW, "--out", folder / "list", "--json")
    (one,) = json.loads(answer.out)["maps"]
    assert one["index"] == 68  # after the 66 of the card
    run = json.loads((folder / "list" / "run.json").read_text(encoding="utf-8"))
    assert run["model"]["spec"] == spec
    assert run["model"]["classes"] == 69


def test_a_text_in_a_file_is_the_whole_line(call, tmp_path):
    card, texts = two_towers.write_card(tmp_path), tmp_path / "texts.txt"
    texts.write_text("r, g\nr, b\n", encoding="utf-8")  # the same text to the tower, up to their commas
    answer = call(
        "map", f"{card}#{texts}", "--trust", "-c", "text:r, g", "-c", "r b", *FEW, "--out", tmp_path / "run", "--json"
    )
    assert answer.code == 0, answer.err
    assert [one["label"] for one in json.loads(answer.out)["maps"]] == ["r g", "r b"]
    line = call("map", f"{card}#{texts};a {{}}", "--trust", "--all", "--out", tmp_path / "other").complaint
    assert "'r, g' and 'r, b' are the same text" in line
    texts.write_text("r\ng\nr\n", encoding="utf-8")
    assert "names 1 and 3 are both 'r': leave one out" in call("map", f"{card}#{texts}", "--trust", "--all").complaint
    texts.write_text("", encoding="utf-8")
    assert "is empty: write a text" in call("map", f"{card}#{texts}", "--trust", "--all").complaint


def test_many_texts_make_a_spec_longer_than_a_path_can_be(call, folder, monkeypatch):
    texts = [
        f"a picture of {what} that is {colour}"
        for colour in ("red", "blue")
        for what in ("a star", "a ring", "a cross")
    ]
    many = [f"-ctext:{article} {text}" for article in ("in", "with") for text in texts]
    answer = call("map", "demo:shapes-text", *many, "--set=steps=1", "--set=batch_size=2", "--out", folder / "many")
    assert answer.code == 0, answer.err
    spec = json.loads((folder / "many" / "run.json").read_text(encoding="utf-8"))["model"]["spec"]
    assert len(spec) > 255
    for words in (("score", folder / "many"), ("check", folder / "many", "--only", "seeds", "--dry-run")):
        answer = call(*words)
        assert answer.code == 0, answer.err
    monkeypatch.chdir(folder)
    (folder / "net.toml").touch()
    assert place_of(spec, RunDirectory(folder / "many")) == "many/scan.json"
    assert place_of(f"net.toml{spec[spec.index('#') :]}", RunDirectory(folder / "many")) == "net.toml"


@pytest.mark.parametrize(
    ("model", "concept", "why"),
    [
        ("demo:shapes", "text:a red star", "is for models that embed texts, such as CLIP"),
        ("demo:shapes-text", "text:a red dog", "knows no 'dog'"),
        ("demo:shapes-text", "text:a red star vs a blue star", "write text: before each prompt"),
        ("demo:shapes-text", "text:", "lacks a prompt"),
        ("demo:shapes-text", "text:a red star; a ring", "put it into a file, MODEL#FILE.txt"),
        ("demo:shapes-text", "star vs text:something red", "write text: before each prompt"),
        (
            "demo:shapes-text#nosuch.txt",
            "a red star",
            "nosuch.txt does not exist: a spec's path starts at the working directory",
        ),
        ("demo:shapes#a;b", "star", "takes no prompts after '#'"),
        ("demo:shapes-text#", "star", "names nothing after '#'"),
        ("demo:shapes-text#something red;something blue", "unit:none:3", "layers 'demo:shapes-text#something red;some"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(call, tmp_path, model, concept, why):
    assert why in call("map", model, "-c", concept, "--out", tmp_path / "run").complaint
    assert not (tmp_path / "run").exists()
