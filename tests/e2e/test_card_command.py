"""``phosphene card``: what it writes loads to the very same classifier, without the source and without trust."""

import json
import re
from pathlib import Path

import pytest

import phosphene as ph
from tests import tiny
from tests.unit.test_exported import export
from tests.unit.test_sources import save_vit


def same(first, second):
    return (
        first.sha256 == second.sha256
        and list(first.labels) == list(second.labels)
        and first.input == second.input
        and first.output == second.output
        and first.name == second.name
    )


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1@random", "timm:resnet10t@random", "demo:shapes"])
def test_a_card_is_the_model_and_needs_no_trust(call, tmp_path, spec):
    answer = call("card", spec, "--out", tmp_path / "own" / "net.toml")
    assert answer.code == 0, answer.err
    assert same(ph.load(tmp_path / "own" / "net.toml"), ph.load(spec))
    assert str(tmp_path) not in (tmp_path / "own" / "net.toml").read_text(encoding="utf-8")  # it may be moved
    (tmp_path / "own").rename(tmp_path / "moved")
    assert same(ph.load(tmp_path / "moved" / "net.toml"), ph.load(spec))


def test_of_a_folder_of_transformers(call, tmp_path):
    folder = save_vit(tmp_path / "vit")
    assert call("card", f"hf:{folder}", "--out", tmp_path / "net.toml").code == 0
    assert same(ph.load(tmp_path / "net.toml"), ph.load(f"hf:{folder}"))
    again = call("card", tmp_path / "net.toml", "--out", tmp_path / "again.toml")  # a card of a card
    assert again.code == 0, again.err
    assert same(ph.load(tmp_path / "again.toml"), ph.load(tmp_path / "net.toml"))


def test_of_a_card_the_factory_is_named_from_where_the_new_one_lies(call, card, tmp_path):
    answer = call("card", card.path, "--trust", "--out", tmp_path / "other" / "net.toml", "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    assert printed["sha256"] == tiny.classifier().sha256
    assert all(Path(file).exists() for file in printed["files"])
    assert same(ph.load(tmp_path / "other" / "net.toml", trust=True), ph.load(card.path, trust=True))
    assert "trust" in call("doctor", tmp_path / "other" / "net.toml").complaint


def test_of_an_exported_network_the_file_stays_where_it_is(call, tmp_path):
    file = export(tmp_path / "net.pt2", None)
    assert call("card", file, "--trust", "--out", tmp_path / "other" / "net.toml").code == 0
    assert same(ph.load(tmp_path / "other" / "net.toml", trust=True), ph.load(file, trust=True))
    assert not (tmp_path / "other" / "net.safetensors").exists()


def test_nothing_is_overwritten(call, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(b"mine")
    complaint = call("card", "demo:shapes", "--out", tmp_path / "net.toml").complaint
    assert "net.safetensors exists already" in complaint
    assert (tmp_path / "net.safetensors").read_bytes() == b"mine"
    assert not (tmp_path / "net.toml").exists()


@pytest.mark.parametrize(
    ("words", "says"), [(["--out", "net.txt"], "net.toml"), (["--weights", "net.pt"], ".safetensors")]
)
def test_wrong_suffixes_are_refused(call, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert says in call("card", "demo:shapes", *words).complaint
    assert list(tmp_path.iterdir()) == []


def test_the_card_is_named_after_the_model(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("card", "demo:shapes").code == 0
    assert (tmp_path / "shapes.toml").exists()


def written_as_told(complaint, folder):
    """Write the card that an error message names, with the lines that it shows, in ``folder``; return its path."""
    file = folder / Path(re.search(r"write (\S+?\.toml)", complaint)[1]).name
    lines = re.findall(r"`([^`]+)`", complaint.partition(";")[0])
    file.write_text("\n".join(lines).replace("224", "16"), encoding="utf-8")
    return file


def test_a_network_without_a_card_is_refused_with_the_lines_of_one(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("from tests.tiny import network as build", encoding="utf-8")
    by_factory = written_as_told(call("card", "nets.py:build", "--trust").complaint, tmp_path)
    assert by_factory.name == "nets.toml"
    assert ph.load(by_factory, trust=True).num_classes == tiny.classifier().num_classes
    exported = export(tmp_path / "net.pt2", None)
    exported.with_suffix(".toml").unlink()
    by_file = written_as_told(call("card", exported, "--trust").complaint, tmp_path)
    assert ph.load(by_file, trust=True).num_classes
    assert "nets.py:FUNCTION" in call("card", "nets.py").complaint


def test_bare_weights_and_a_card_without_input_are_refused_with_the_lines_to_write(call, card):
    """The lines for weights leave only the factory to fill in."""
    complaint = call("card", card.folder / "tiny.safetensors").complaint
    assert all(part in complaint for part in ('weights = "tiny.safetensors"', 'factory = "', "input = { size = ["))
    complaint = call("card", card.write(input=None).path).complaint
    line = re.search("`(.+)`", complaint)[1].replace("224", "16")
    card.path.write_text(f"{line}\n{card.path.read_text(encoding='utf-8')}", encoding="utf-8")
    assert call("doctor", card.path, "--trust").code == 0


def test_a_written_card_has_a_line_per_field(call, tmp_path):
    assert call("card", "demo:shapes", "--out", tmp_path / "net.toml").code == 0
    assert "\n[input]\nsize = [96, 96]\nmean = [" in (tmp_path / "net.toml").read_text(encoding="utf-8")


def test_a_second_network_of_the_same_name_gets_a_run_of_its_own(tmp_path, monkeypatch):
    """By default; with --out the directory is refused."""
    monkeypatch.chdir(tmp_path)
    first, second = tiny.classifier(), tiny.classifier(1)
    how = {"recipes": ["quick"], "overrides": tiny.SHORT, "progress": False}
    places = [ph.map_models([net], 0, **how)[0].run.path for net in (first, second, first)]
    assert places[0] == places[2]
    assert places[1].name.startswith(f"{places[0].name}-")
    scans = ph.scan_run(second, dry_run=True, progress=False).run.path
    ph.map_models([first], 0, out=scans, **how)  # stands for its scan
    assert ph.scan_run(second, dry_run=True, progress=False).run.path.name.startswith(f"{scans.name}-")
