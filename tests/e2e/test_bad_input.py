"""Bad input: one clear line on stderr, exit code 2, nothing half-written."""

import errno
import io
import json
import os
import resource
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

import phosphene as ph
from phosphene.errors import PhospheneWarning
from tests import hand, tiny
from tests.files import contents
from tests.tiny import SETTINGS


@pytest.fixture
def refused(call, card, tmp_path):
    """Map class 0 of the tiny card, with ``words`` added, and return the one line that refuses it.

    Nothing may be written anywhere but in the files that the test itself made before.
    """

    def refused(*words, spec=None, concept=("-c", 0), out=None):
        out = out or tmp_path / "out"
        before = contents(tmp_path)
        common = [*concept, *SETTINGS, "--device", "cpu", "--out", out]
        answer = call("map", spec or card.path, "--trust", *common, *words)
        assert contents(tmp_path) == before
        return answer.complaint

    return refused


# --- the card


def test_missing_card(refused, tmp_path):
    assert "none.toml does not exist" in refused(spec=tmp_path / "none.toml")


@pytest.mark.parametrize("text", ["name = ", "[input]\nsize = [16, 16]\n", 'factory = "nets.py:tiny"\n', "\0"])
def test_malformed_card(refused, card, text):
    card.path.write_text(text, encoding="utf-8")
    assert f"model card {card.path}" in refused()


def test_card_with_a_misspelt_field(refused, card):
    assert "'weigths'. Did you mean weights?" in refused(spec=card.write(weigths="x").path)


def test_card_that_contradicts_its_network(refused, card):
    card.write(input={"size": [16, 16], "channels": 1})
    assert "network tiny refuses its declared input" in refused()
    card.write(input={"size": [16, 16]})
    (card.folder / "labels.txt").write_text("one\ntwo\n", encoding="utf-8")
    assert "5 classes, and labels were given for 2" in refused()


# --- the weights


def test_weights_that_do_not_fit_name_the_first_keys(refused, card):
    card.weigh({"body.weight": torch.zeros(3), **{k: v for k, v in card.state().items() if not k.startswith("7")}})
    line = refused()
    assert "missing: 7.weight, 7.bias" in line
    assert "not in the network: body.weight" in line
    card.weigh(card.state() | {"7.bias": torch.zeros(4)})
    assert "7.bias is (4,), the network has (5,)" in refused()


@pytest.mark.parametrize("data", [None, b"", b"garbage"])
def test_missing_and_damaged_weights(refused, card, data):
    (card.folder / "tiny.safetensors").unlink()
    if data is not None:
        (card.folder / "tiny.safetensors").write_bytes(data)
    assert "tiny.safetensors" in refused()


# --- trust


def test_a_factory_without_trust(run, card, tmp_path):
    """By the command itself, in a process of its own: nothing that it imports runs the file either."""
    complaint = run("map", card.path, "-c", 0, *SETTINGS, "--out", tmp_path / "out").complaint
    assert "nets.py" in complaint
    assert "--trust" in complaint
    assert not card.mark.exists()
    assert not (tmp_path / "out").exists()


def test_a_module_beside_the_card_without_trust(run, card, tmp_path):
    (card.folder / "nets2.py").write_text(tiny.FACTORY, encoding="utf-8")
    card.write(factory="nets2:tiny")
    complaint = run("map", card.path, "-c", 0, *SETTINGS, "--out", tmp_path / "out", cwd=card.folder).complaint
    assert "--trust" in complaint
    assert not card.mark.exists()


# --- concepts


def test_unknown_concept(refused):
    assert "no class is called 'loin'. Did you mean lion" in refused("-c", "loin")
    assert "classes 0 to 4" in refused("-c", 5)
    assert "classes 0 to 4" in refused("-c", -1)


def test_ambiguous_concept(refused):
    line = refused("-c", "crane")
    assert "write 'crane (1)' (next to lion and crane) or 'crane (2)' (next to crane and maillot)." in line
    line = refused("-c", "maillot")
    assert "'maillot (3)' (maillot) or 'maillot (4)' (maillot, tank suit)" in line


def test_no_concept_and_too_many(refused):
    assert "--all" in refused(concept=())
    assert "--all" in refused(concept=("--all", "-c", 0))
    assert "--all" in refused(concept=("--all", "--confused", 1))
    assert "in place of concepts" in refused(concept=("-c", 0, "--confused", 1))


# --- samples


@pytest.mark.parametrize("made", [False, True])
def test_missing_and_empty_sample_folder(refused, tmp_path, made):
    if made:
        (tmp_path / "empty").mkdir()
    says = "holds no image files" if made else "do not exist"
    assert says in refused("--samples", tmp_path / "empty")


def test_unreadable_sample_folder(refused, sample_folder, monkeypatch):
    """Root may read everything, so the refusal of the operating system is injected."""
    listing = os.scandir

    def scandir(path="."):
        if str(path) == str(sample_folder):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listing(path)

    def refuse():
        monkeypatch.setattr(os, "scandir", scandir)

    refuse()
    try:
        line = refused("--samples", sample_folder)
    finally:
        monkeypatch.undo()
    assert f"sample folder {sample_folder} cannot be read: Permission denied" in line


def test_sample_folder_without_one_image(refused, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("no image", encoding="utf-8")
    assert "none of 1 files is a readable image (a.png" in refused("--samples", tmp_path / "bad")


def test_sample_file_that_is_no_image(refused, tmp_path, sample_folder):
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    assert "notes.txt is not one of .parquet, " in refused("--samples", tmp_path / "notes.txt")
    for name in ("a.npz", "a.npy", "a.parquet"):
        (tmp_path / name).write_text("no image", encoding="utf-8")
        assert f"{name}" in refused("--samples", tmp_path / name)
    np.save(tmp_path / "big.npy", np.full((4, 16, 16, 3), 7.0))
    assert "floats in [0, 1]" in refused("--samples", tmp_path / "big.npy")


def test_one_sample_is_not_enough(refused, tmp_path):
    assert "at least 2" in refused("--samples", tiny.make_samples(tmp_path / "one", 1))


def test_samples_that_do_not_exist_under_that_name(refused):
    assert "Did you mean pink?" in refused("--samples", "synthetic:pnik")


# --- the recipe


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("stepz=3", "no field 'stepz'. Did you mean steps"),
        ("steps=many", "steps is 'many'; it must be an int"),
        ("steps=2.5", "steps is 2.5; it must be an int"),
        ("sign_test=perhaps", "sign_test is 'perhaps'; it must be a bool"),
        ("radius=0", "radius is 0.0; it must be above 0"),
        ("radius=-30", "radius is -30.0; it must be above 0"),
        ("radius=nan", "radius is nan; it must be finite"),
        ("steps=0", "steps is 0; it must be above 0"),
        ("steps=-1", "steps is -1; it must be above 0"),
        ("batch_size=0", "batch_size is 0; it must be above 0"),
        ("batch_size=-8", "batch_size is -8; it must be above 0"),
        ("steps", "--set steps must have the form field=value"),
    ],
)
def test_recipe_fields(refused, setting, says):
    assert says in refused("--set", setting)


def test_recipes_that_are_not_there(refused, tmp_path):
    assert "no recipe is called 'quikc'. Did you mean quick?" in refused("--recipe", "quikc")
    assert "none.toml does not exist" in refused("--recipe", tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = \n", encoding="utf-8")
    assert "bad.toml cannot be read" in refused("--recipe", tmp_path / "bad.toml")


@pytest.mark.parametrize("layer", ["nosuch", "7"])
def test_a_layer_that_cannot_give_xi_is_refused_before_any_work(refused, layer):
    assert "xi_layer" in refused("--set", f"xi_layer={layer}")


# --- the output directory


def test_a_directory_of_another_model_recipe_or_samples(refused, call, card, half_card, sample_folder, tmp_path):
    out = tmp_path / "out"
    call("map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", out)
    assert "belongs to another recipe" in refused("--set", "steps=4")
    assert "belongs to another model" in refused(spec=half_card.path)
    assert "belongs to other samples" in refused("--samples", sample_folder)


def test_a_directory_of_other_files_and_a_file(refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert "holds files but is not a run directory" in refused(out=tmp_path / "mine")
    assert "is a file, not a directory" in refused(out=tmp_path / "mine" / "thesis.txt")
    assert "cannot be written" in refused(out=tmp_path / "mine" / "thesis.txt" / "below")


def test_a_damaged_run_json(refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"schema": 1, "jo', encoding="utf-8")
    assert "run.json is damaged" in refused()


@pytest.mark.parametrize("command", ["report", "score", "check", "film"])
def test_what_is_no_run_is_refused_with_the_runs_that_there_are(call, card, tmp_path, command):
    assert "`phosphene map` makes one." in call(command, tmp_path / "none").complaint
    for name in ("two", "three"):
        call("map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", tmp_path / "runs" / name)
    assert (
        "The runs beside it: two, three." in call(command, tmp_path / "runs" / "tow").complaint
    )  # the likeliest first
    assert "The runs in it: " in call(command, tmp_path / "runs").complaint


def test_files_that_are_not_there_are_refused_with_those_that_are_or_with_what_makes_one(refused, card, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, fix in (
        ({"spec": tmp_path / "empty" / "a.toml"}, "`phosphene models` lists"),
        ({"spec": tmp_path / "empty" / "a.pt2"}, "Known: demo:shapes"),
    ):
        assert fix in refused(**words)
    assert "`phosphene recipes NAME > FILE.toml`" in refused("--recipe", tmp_path / "empty" / "mine.toml")
    assert "The same folder holds tiny.toml." in refused("--recipe", card.folder / "tyni.toml")
    assert "The same folder holds tiny.toml." in refused(spec=card.folder / "tyni.toml")
    assert "The same folder holds tiny.toml." in refused(spec=card.folder / "tiny.tml")
    assert "The same folder holds tiny.toml." in refused(spec=card.folder / "tiny")
    assert "The same folder" not in refused(spec=card.folder / "zzzz")
    assert "The same folder holds tiny.safetensors." in refused(spec=card.write(weights="tyni.safetensors").path)
    card.write(weights="tiny.safetensors", labels="lables.txt")
    assert "The same folder holds labels.txt." in refused()
    assert "Modules, from the last: '' (the last spatial one), " in refused(
        "--set", "xi_layer=zzzz", spec=card.write(labels="labels.txt").path
    )


def test_reports_of_what_is_no_run(call, tmp_path):
    assert "is not a run directory" in call("report", tmp_path).complaint
    assert "is not a run directory" in call("report", tmp_path / "none").complaint
    assert not list(tmp_path.iterdir())


# --- the device


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta", "cuda:x", ""])
def test_a_device_that_is_not_there(refused, device):
    line = refused("--device", device)
    assert "device" in line
    assert "cpu" in line


def test_cuda_where_there_is_none(refused, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA device" in refused("--device", "cuda")


def test_a_precision_that_does_not_exist(refused):
    assert "--precision" in refused("--precision", "fp8")


# --- the network's answers


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_answers_with_nan(call, card, tmp_path, value):
    state = card.state()
    state["7.weight"][2, 3] = value
    card.weigh(state)
    out = tmp_path / "out"
    line = call("map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", out).complaint
    assert "network tiny" in line
    assert "NaN or infinity at step 1 of 5" in line
    assert not (out / "maps").exists()  # the run is begun, and no map of it is half there
    assert not (out / "report.html").exists()
    assert "NaN or infinity" in call("doctor", card.path, "--trust").complaint


# --- the disk


def full_disk(monkeypatch, writes):
    """Let ``writes`` files through; then the disk is full."""
    left, fsync = [writes * 2], os.fsync  # a file and its folder are flushed each time

    def flush(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", flush)


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4, 5, 6])
def test_a_full_disk_while_writing(call, card, tmp_path, monkeypatch, writes):
    out = tmp_path / "out"
    words = ["map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", out]
    full_disk(monkeypatch, writes)
    line = call(*words).complaint_after_progress
    assert "the disk is full while writing" in line
    assert str(out) in line
    assert not list(out.rglob("*.part"))
    order = ["run.json", "map.safetensors", "map.png", "map.json", "readings.json", "sheet.png", "report.html"]
    there = {path.name for path in out.rglob("*") if path.is_file()} - {".lock"}
    assert there == set(order[:writes])
    for path in out.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    monkeypatch.undo()
    assert call(*words).code == 0  # the same command goes on
    assert {path.name for path in out.rglob("*") if path.is_file()} - {".lock"} == set(order)


@pytest.fixture
def read_only_disk(monkeypatch, tmp_path):
    """Return a function that makes the disk of ``tmp_path`` read-only: mode bits would not stop root."""
    opening, opening_file, unlinking = os.open, io.open, os.unlink

    def refuse_below(path):
        if Path(path).is_relative_to(tmp_path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def open_(path, flags, *more, **how):
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse_below(path)
        return opening(path, flags, *more, **how)

    def open_file(path, mode="r", *more, **how):
        if set(mode) & set("wxa+") and not isinstance(path, int):
            refuse_below(path)
        return opening_file(path, mode, *more, **how)

    def unlink(path, **how):
        refuse_below(path)
        unlinking(path, **how)

    def turn():
        monkeypatch.setattr(os, "open", open_)
        monkeypatch.setattr(io, "open", open_file)  # pathlib's
        monkeypatch.setattr(os, "unlink", unlink)

    return turn


def test_a_run_on_a_read_only_disk_is_refused_before_the_work(call, card, tmp_path, monkeypatch, read_only_disk):
    """None of these commands has an --out, and figures that are computed could not be kept."""
    out = tmp_path / "out"
    assert call("map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", out).code == 0
    work = mock.Mock(side_effect=AssertionError("this is work"))
    for name in ("workflows.score.to_classifiers", "workflows.check.examine", "reports.html.environment"):
        monkeypatch.setattr(f"phosphene.{name}", work)
    read_only_disk()
    for words in (["score", out, "--trust"], ["check", out, "--trust", "--only", "fidelity"], ["report", out]):
        line = call(*words).complaint_after_progress
        assert f"{out} cannot be written (Read-only file system): copy the run to a place that can be" in line
        assert "--out" not in line


@pytest.mark.parametrize("mapped", [True, False])
def test_a_stored_verdict_on_a_read_only_disk_is_shown(tmp_path, read_only_disk, mapped):
    options = {
        "samples": hand.pool(),
        "device": "cpu",
        "range_check": False,
        "progress": False,
        "out": tmp_path / "out",
    }
    found = ph.scan(hand.classifier(40.0), mapped=False, **options)
    before = contents(tmp_path)
    read_only_disk()
    with pytest.warns(PhospheneWarning, match="the report was not written: .* cannot be written") as warnings:
        again = ph.scan(hand.classifier(40.0), mapped=mapped, **options)
    assert len(warnings) == 1
    assert (again.cached, again.verdict, again.report) == (True, "backdoored", found.report)
    assert contents(tmp_path) == before


def test_a_card_on_a_read_only_disk(call, tmp_path, read_only_disk):
    read_only_disk()
    line = call("card", "demo:shapes", "--out", tmp_path / "x.toml").complaint
    assert "cannot be written: Read-only file system. Choose another path." in line


def test_a_file_system_that_takes_no_more(run, card, tmp_path):
    """The real thing, by the operating system: a file may not grow beyond 2.5 kB, and a map is larger."""
    out = tmp_path / "out"
    words = ["map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", out]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))

    answer = run(*words, preexec_fn=limit, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert "cannot be written" in answer.complaint_after_progress
    assert "map.safetensors" in answer.err
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"run.json", ".lock"}
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["jobs"]


# --- the command line itself


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mapp"], "no command 'mapp'. Did you mean map?"),
        (["zzz"], "Commands: demo, map"),
        (["map"], "MODEL"),
        (["map", "x", "--nosuch"], "--nosuch"),
        (["map", "x", "-c", "0", "--seeds", "0"], "--seeds"),
        (["map", "x", "-c", "0", "--seeds", "many"], "--seeds"),
        (["map", "x", "-c", "0", "--seed", "-1"], "--seed"),
        (["map", "x", "-c", "0", "--seed", "99999999999999999999"], "--seed"),
        (["map", "nosuch", "-c", "0"], "there is no model 'nosuch'"),
        (["map", "demo:shape", "-c", "0"], "Did you mean shapes"),
        (["report"], "RUN"),
        (["doctor", "nosuch"], "there is no model 'nosuch'"),
        (["recipes", "nosuch"], "no recipe is called 'nosuch'"),
    ],
)
def test_the_command_line(call, words, says):
    assert says in call(*words).complaint


def test_an_unexpected_error_is_one_line_with_the_way_to_see_more(call, monkeypatch, capfd):
    def fail():
        raise ZeroDivisionError("first\nsecond")

    monkeypatch.setattr("phosphene.list_specs", fail)
    answer = call("models")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "phosphene: unexpected ZeroDivisionError: first (PHOSPHENE_DEBUG=1 shows where)\n"
    monkeypatch.setenv("PHOSPHENE_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["phosphene", "models"])
    from phosphene.cli import entry

    with pytest.raises(SystemExit) as stop:
        entry()
    assert stop.value.code == 2
    assert "ZeroDivisionError: first" in capfd.readouterr().err


def test_a_place_without_permission(refused, tmp_path, monkeypatch):
    """The refusal is the system's own, made up here because root may write everywhere."""
    make = os.mkdir

    def refuse(path, *args, **keys):
        if "shut" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        make(path, *args, **keys)

    monkeypatch.setattr("os.mkdir", refuse)
    line = refused(out=tmp_path / "shut")
    assert "cannot be written: Permission denied" in line
    assert "Choose another path" in line
