"""``phosphene card``: what it writes loads to the very same classifier, without the source and without trust."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

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


def test_of_a_typed_function_the_card_is_written_without_trust_and_needs_it_then(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = "tests.unit.test_sources:make_tiny"
    answer = call("card", spec, "--out", tmp_path / "net.toml")
    assert answer.code == 0, answer.err
    assert same(ph.load(tmp_path / "net.toml", trust=True), ph.load(spec))
    assert f"would call {spec}" in call("doctor", tmp_path / "net.toml").complaint


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
    ("words", "says"),
    [(["--out", "net.txt"], "net.toml"), (["--out", "."], "card.toml"), (["--weights", "net.pt"], ".safetensors")],
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
    assert "nets.py:FUNCTION" in call("card", "nets.py").complaint


BARE = {
    "any.onnx": [],
    "static.pt2": ["--trust"],
    "script.pt": ["--trust", "--size", "16"],
    "sized.onnx": ["--size", "16x16"],
}


@pytest.mark.parametrize("name", list(BARE))
def test_two_commands_lead_from_an_exported_network_to_maps(call, tmp_path, name):
    file = export(tmp_path / "my nets" / name, 2 if name.startswith("static") else None)
    file.with_suffix(".toml").unlink()
    if name == "sized.onnx":
        open_sizes(file)
        assert "--size 224 or HEIGHTxWIDTH" in call("card", file).complaint
    told = shlex.split(re.search("`phosphene (card .+?)`", call("map", file, "-c", "1").complaint)[1])
    answer = call(*told, *BARE[name], "--mean", "0.5,0.5,0.5", "--std", ".25,.25,.25", "--labels", labels_beside(file))
    assert answer.code == 0, answer.err
    trust = [word for word in BARE[name] if word == "--trust"]
    out = tmp_path / "run"
    assert call("map", file, "-c", "lion", *trust, "--out", out, *tiny.SETTINGS).code == 0
    pixels = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ph.load(file, trust=True).logits(pixels), tiny.classifier().logits(pixels))
    again = call("card", file, *trust, "--mean", "0,0,0", "--out", tmp_path / "b.toml").complaint
    assert f"{file} has a card already, {file.with_suffix('.toml')}: give that, or edit it." in again
    assert "options for a bare file (mean) were given" in call("card", "demo:shapes", "--mean", "0,0,0").complaint


def labels_beside(file):
    path = file.with_name("labels.txt")
    path.write_text("\n".join(tiny.LABELS) + "\n", encoding="utf-8")
    return path


def open_sizes(file):
    """Leave height and width open, as files for any size do."""
    import onnx

    model = onnx.load(file)
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_param = "any"
    onnx.save(model, file)


@pytest.mark.parametrize("by", ["factory", "arch"])
def test_two_commands_lead_from_weights_to_maps(call, tmp_path, by):
    card = tiny.make_card(tmp_path / "my card; true")
    file = card.folder / "tiny.safetensors"
    card.path.unlink()
    flags = ["--factory", card.folder / "nets.py:tiny", "--trust"]
    if by == "arch":
        file, flags = card.folder / "net.pt", ["--arch", "timm:resnet10t"]
        torch.save({"model": {f"module.{key}": value for key, value in small_resnet().state_dict().items()}}, file)
    complaint = call("map", file, "-c", "1").complaint
    assert "--arch torchvision:NAME" in complaint
    assert "a network has to be named" in call("card", file).complaint
    assert "give it (--size" in call("card", file, *flags).complaint
    answer = call("card", file, *flags, "--size", "32")
    assert answer.code == 0, answer.err
    doctor = ["phosphene", "doctor", str(file.with_suffix(".toml")), "--samples", "FOLDER", *flags[2:]]
    assert shlex.split(re.search("`(.+)`", answer.out)[1]) == doctor
    assert not re.search(str(tmp_path), file.with_suffix(".toml").read_text(encoding="utf-8"))
    trust = flags[2:]
    assert (
        call("map", file.with_suffix(".toml"), "-c", "1", *trust, "--out", tmp_path / "run", *tiny.SETTINGS).code == 0
    )
    assert ph.load(file.with_suffix(".toml"), trust=True).num_classes == (5 if by == "factory" else 7)


def small_resnet():
    from phosphene.sources.timm import build

    return build("resnet10t", classes=7, size=(32, 32))


@pytest.mark.parametrize("flag", [["--size", "big"], ["--mean", "a,b"], ["--size", "1x2x3"], ["--mean", "0,0"]])
def test_flags_that_make_no_sense_are_refused(call, tmp_path, flag):
    file = export(tmp_path / "a.onnx", None)
    file.with_suffix(".toml").unlink()
    assert call("card", file, *flag).complaint
    assert [one.name for one in tmp_path.iterdir()] == ["a.onnx"]


def test_a_card_without_input_is_refused_with_the_line_to_write(call, card):
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
    scans = ph.scan(second, out=True, dry_run=True, progress=False).run.path
    ph.map_models([first], 0, out=scans, **how)  # stands for its scan
    assert ph.scan(second, out=True, dry_run=True, progress=False).run.path.name.startswith(f"{scans.name}-")
