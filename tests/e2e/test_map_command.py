"""`phosphene map` and the small commands, as a user calls them; in processes of their own where that matters."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import phosphene
from tests.conftest import PATIENCE, command
from tests.files import times
from tests.tiny import settings


@pytest.fixture
def job(card, sample_folder, tmp_path):
    """A small job: two classes, two seeds."""
    out = tmp_path / "out"
    words = ["map", card.path, "--trust", "-c", "Panthera LEO", "-c", 4, "--seeds", 2, "--samples", sample_folder]
    return [*words, *settings(), "--out", out, "--device", "cpu"], out


PLACES = ["lion-0/seed-0", "lion-0/seed-1", "maillot-4/seed-0", "maillot-4/seed-1"]


def test_map_writes_the_run_directory_of_the_design(run, job, sample_folder):
    words, out = job
    (sample_folder / "broken.png").write_bytes(b"no image")
    answer = run(*words, "--json")
    assert answer.code == 0, answer.err

    files = {"run.json", "readings.json", "report.html", "sheet.png"}
    files |= {f"maps/{place}/{name}" for place in PLACES for name in ("map.safetensors", "map.png", "map.json")}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and p.name != ".lock"} == files

    facts = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert facts["model"]["name"] == "tiny"
    assert facts["samples"] == facts["samples"] | {"count": 11, "held_out": 1, "skipped": ["broken.png"]}
    assert facts["device"] == "cpu"
    assert [(row["index"], row["seed"]) for row in facts["jobs"]] == [(0, 0), (0, 1), (4, 0), (4, 1)]
    assert facts["versions"]["phosphene"] == phosphene.__version__

    radius = facts["recipe"]["radius"] * (3 * 16 * 16 / 150528) ** 0.5
    for place in PLACES:
        folder = out / "maps" / place
        tensors = load_file(folder / "map.safetensors")
        assert {name: (t.shape, t.dtype) for name, t in tensors.items()} == {
            "nu": ((3, 16, 16), np.float32),
            "xi": ((1, 16, 16), np.float32),
        }
        nu = tensors["nu"].astype(float)
        assert 0 < np.linalg.norm(nu) <= radius * 1.00001
        expected = np.clip(0.5 - 0.2 * nu / nu.std(), 0, 1).transpose(1, 2, 0) * 255
        np.testing.assert_allclose(np.asarray(Image.open(folder / "map.png")), expected, atol=0.51)
        one = json.loads((folder / "map.json").read_text(encoding="utf-8"))
        wanted = {"index", "label", "seed", "recipe_sha256", "p_class", "targeting_rate", "loss", "passes", "seconds"}
        assert wanted <= set(one)
        assert place == f"{one['label'].split(',')[0]}-{one['index']}/seed-{one['seed']}"
        assert one["recipe_sha256"] == facts["recipe"]["sha256"]
        assert 0 <= one["p_class"] <= 1
        assert len(one["loss"]) == 3 + 2
        assert (
            one["passes"] == 3 * 4 * 2 + 2 * 4 + 2 * 4 * 2
        )  # the weight of the statistics is measured at two of three steps
    assert "lion" in (out / "report.html").read_text(encoding="utf-8")

    document = json.loads(answer.out)  # all of stdout is one document
    assert document["run"] == str(out)
    assert document["model"] == "tiny"
    assert [(row["index"], row["seed"]) for row in document["maps"]] == [(0, 0), (0, 1), (4, 0), (4, 1)]
    assert "skipped 1 sample file(s)" in answer.err
    assert "broken.png" in answer.err
    assert "only 1 sample of 12 is held out, too few for a targeting rate" in answer.err
    assert "step 5 of 5" in answer.err
    assert "\x1b" not in answer.err  # plain text without a terminal


def test_a_second_time_nothing_is_computed_and_more_is_added(call, job):
    words, out = job
    first = call(*words)
    assert first.code == 0, first.err
    assert f"4 maps in {out}" in first.out
    assert len(re.findall(r"targeting .* s$", first.err, re.MULTILINE)) == 4
    heading = "<h3>The command that made these maps; with another --out it makes them again</h3>"
    assert heading in (out / "report.html").read_text(encoding="utf-8")
    before = times(out / "maps")
    repeated = call(*words)
    assert f"4 maps (all cached: nothing was made) in {out}" in repeated.out
    assert len(re.findall(r"targeting .*, cached$", repeated.err, re.MULTILINE)) == 4
    again = call(*words, "--json")
    assert times(out / "maps") == before
    assert len(json.loads(again.out)["maps"]) == 4
    assert "step" not in again.err
    more = call(*words, "-c", "tank suit", "-c", 3)  # one more class, and one that is there by another name
    assert f"6 maps (4 cached) in {out}" in more.out
    after = times(out / "maps")
    assert {path: after[path] for path in before if path.count("/") == 2} == {
        path: written for path, written in before.items() if path.count("/") == 2
    }
    assert {path.split("/")[0] for path in after} == {"lion-0", "maillot-4", "maillot-3"}
    one = [*words[:3], "-c", 1, "--seed", 5, *words[words.index("--samples") :]]
    assert call(*one).out.startswith(f"1 map made, 7 maps in {out}; open ")
    assert call(*one).out.startswith(f"1 map (all cached: nothing was made), 7 maps in {out}; open ")


def test_a_network_that_predicts_one_class_for_everything_has_no_sample_to_move(call, card, sample_folder, tmp_path):
    state = card.state()
    state["7.bias"][0] += 1e4
    card.weigh(state)
    out = tmp_path / "out"
    words = ["--samples", sample_folder, *settings(), "--out", out, "--device", "cpu"]
    answer = call("map", card.path, "--trust", "-c", 0, "-c", 4, *words)
    assert answer.code == 0, answer.err
    constant, other = [line for line in answer.err.splitlines() if "targeting" in line and ", seed 0: " in line]
    assert "no held-out sample to move: all are classified so without it" in constant
    assert "%" not in constant
    assert "targeting 0 %" in other
    assert "targeting 100 %" not in answer.err  # nor while it is made
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<dd>none to move</dd>") == 1
    assert '<li class="good">' not in page


def test_a_damaged_map_is_made_again_and_the_others_are_not(call, job):
    words, out = job
    call(*words)
    file = out / "maps" / "lion-0" / "seed-1" / "map.safetensors"
    whole, nu, before = file.read_bytes(), load_file(file)["nu"], times(out / "maps")
    file.write_bytes(whole[:-4] + b"\0\0\0\1")
    assert call(*words).code == 0
    np.testing.assert_allclose(load_file(file)["nu"], nu, atol=1e-3 * np.abs(nu).max())  # the same samples and seed
    after = times(out / "maps")
    changed = {path for path in before if after[path] != before[path] and path.count("/") == 2}
    assert changed == {f"lion-0/seed-1/{name}" for name in ("map.safetensors", "map.png", "map.json")}


def test_a_map_is_the_same_alone_and_in_a_group(call, job, card, sample_folder, tmp_path):
    words, out = job
    call(*words)
    alone = tmp_path / "alone"
    some = ["map", card.path, "--trust", "-c", 4, "--seed", 1, "--samples", sample_folder, *settings(), "--out", alone]
    assert call(*some).code == 0
    place = "maps/maillot-4/seed-1/map.safetensors"
    assert [path.relative_to(alone).as_posix() for path in alone.rglob("*.safetensors")] == [place]
    ours, theirs = load_file(alone / place)["nu"], load_file(out / place)["nu"]
    np.testing.assert_allclose(ours, theirs, atol=1e-3 * np.abs(theirs).max())


def test_an_interrupted_run_is_continued_by_the_same_command(card, tmp_path):
    out = tmp_path / "out"
    # Sixteen samples per step fill a micro-batch: the maps are made one after another.
    words = ["map", card.path, "--trust", "-c", 0, "-c", 3, "--seeds", 4, "--out", out, "--device", "cpu", "--json"]
    words += settings(batch_size=16, steps=40)
    # A shell that starts its jobs in the background has them ignore the signal.
    options = {"text": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(*words), **pipes, **options) as process:
        limit = time.monotonic() + PATIENCE
        while not list(out.glob("maps/*/*/map.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        printed, complained = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, complained
    assert printed == ""
    assert re.search(
        r"interrupted, \d+ of \d+ maps finished; the same command continues where this stopped\.", complained
    )
    assert "Traceback" not in complained

    made = {path.parent for path in out.glob("maps/*/*/map.json")}
    assert 1 <= len(made) < 8, "the signal came too late to interrupt anything"
    assert not list(out.rglob("*.part"))
    assert not (out / "report.html").exists()
    for folder in made:
        json.loads((folder / "map.json").read_text(encoding="utf-8"))
        Image.open(folder / "map.png").load()
    assert len(json.loads((out / "run.json").read_text(encoding="utf-8"))["jobs"]) == 8

    before = times(out / "maps")
    done = subprocess.run(command(*words), check=True, timeout=PATIENCE, capture_output=True, text=True)
    assert len(json.loads(done.stdout)["maps"]) == 8
    after = times(out / "maps")
    for folder in made:
        for file in folder.iterdir():
            name = file.relative_to(out / "maps").as_posix()
            assert after[name] == before[name]
    assert len(list(out.glob("maps/*/*/map.json"))) == 8


def test_dry_run_says_what_it_would_cost_and_writes_nothing(call, job, tmp_path):
    words, out = job
    document = json.loads(call(*words, "--dry-run", "--json").out)
    assert document["jobs"] == 4
    assert document["passes"] == 4 * (3 * 4 * 2 + 2 * 4 + 2 * 4 * 2)
    assert document["run"] == str(out)
    assert "4 maps, 192 passes" in call(*words, "--dry-run").out
    assert not out.exists()


def test_without_out_the_run_is_named_after_model_and_recipe(call, card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for steps in (2, 3):  # a changed recipe does not collide with another one
        words = ["map", card.path, "--trust", "-c", 0, *settings(name="mine", steps=steps)]
        assert call(*words).code == 0
    made = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(made) == 2
    assert all(re.fullmatch(r"tiny-mine-[0-9a-f]{6}", name) for name in made)


def test_a_hostile_name_stays_inside_runs(call, card, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    card.write(name="../../../escape/me")
    before = {path.name for path in tmp_path.iterdir()}
    assert call("map", card.path, "--trust", "-c", 0, *settings()).code == 0
    assert {path.name for path in tmp_path.iterdir()} == before
    (made,) = (tmp_path / "work" / "runs").iterdir()
    assert (made / "run.json").exists()


def test_several_models_get_a_run_each(call, card, half_card, tmp_path):
    half_card.write(name="half")
    out = tmp_path / "out"
    answer = call("map", card.path, half_card.path, "--trust", "-c", 0, *settings(name="r"), "--out", out, "--json")
    assert answer.code == 0, answer.err
    assert [document["model"] for document in json.loads(answer.out)] == ["tiny", "half"]
    lines = call("map", card.path, half_card.path, "--trust", "-c", 0, *settings(name="s"), "--out", out).err
    for name in ("tiny", "half"):
        assert f"lion (0), seed 0, by {name} (s): p " in lines
        assert re.search(rf"2 runs: map \d of 2, .* by {name} \(s\), step ", lines)
    assert sorted(path.name for path in out.glob("*-r")) == ["half-r", "tiny-r"]
    facts = [json.loads((path / "run.json").read_text(encoding="utf-8")) for path in sorted(out.glob("*-r"))]
    assert facts[0]["model"]["sha256"] != facts[1]["model"]["sha256"]


def test_two_models_of_one_name_are_refused_before_any_work(call, card, half_card, tmp_path):
    words = ["map", card.path, half_card.path, "--trust", "-c", 0, *settings(), "--out", tmp_path / "out"]
    assert "tiny" in call(*words).complaint
    assert not (tmp_path / "out").exists()


def test_a_recipe_file_and_its_overrides(call, card, tmp_path):
    shown = call("recipes", "quick").out
    (tmp_path / "own.toml").write_text(re.sub(r"(?m)^(name|steps) = .*\n", "", shown) + "steps = 2\n", encoding="utf-8")
    out = tmp_path / "out"
    words = ["map", card.path, "--trust", "-c", 0, "--recipe", tmp_path / "own.toml", "--out", out]
    assert call(*words, "--set=batch_size=4", "--set", "refine_steps = 1").code == 0
    recipe = json.loads((out / "run.json").read_text(encoding="utf-8"))["recipe"]
    found = {key: recipe[key] for key in ("name", "steps", "batch_size", "refine_steps", "sign_test")}
    assert found == {"name": "own", "steps": 2, "batch_size": 4, "refine_steps": 1, "sign_test": False}


def test_recipes_lists_shows_and_round_trips(call):
    listed = call("recipes").out
    assert {"paper", "quick"} <= {line.split()[0] for line in listed.splitlines()}
    assert listed.count("(default)") == 1
    assert tomllib.loads(call("recipes", "paper").out)["steps"] == 650
    assert json.loads(call("recipes", "paper", "--json").out)["radius"] == 30.0
    assert json.loads(call("recipes", "--json").out)["quick"]["description"]
    assert "papr" in call("recipes", "papr").complaint


def test_models_lists_what_can_be_loaded(call):
    rows = json.loads(call("models", "--json").out)
    assert all(set(row) == {"spec", "description"} for row in rows)
    printed = call("models").out
    for row in rows:
        assert row["spec"] in printed
    assert "card.toml" in printed


def test_doctor_speaks_of_the_machine_and_of_a_model(call, card, sample_folder):
    facts = json.loads(call("doctor", "--json").out)
    assert facts["phosphene"] == phosphene.__version__
    assert {"torch", "python", "cuda", "cores"} <= set(facts)
    facts = json.loads(call("doctor", card.path, "--trust", "--samples", sample_folder, "--json").out)
    assert facts["model"] == "tiny"
    assert facts["classes"] == 5
    assert "16 x 16 x 3" in facts["input"]
    assert facts["spatial_layer"] == "4"
    assert "images/s" in call("doctor", card.path, "--trust").out


def test_doctor_warns_of_an_input_range_that_makes_no_sense(call, card, sample_folder):
    card.write(input={"size": [16, 16], "mean": [-2] * 3, "std": [1e-4] * 3})
    facts = json.loads(call("doctor", card.path, "--trust", "--samples", sample_folder, "--json").out)
    assert "check [input] mean and std" in facts["predictions"]


def test_report_is_written_again_from_what_is_there(call, job):
    words, out = job
    call(*words)
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    answer = call("report", out, "--json")
    assert json.loads(answer.out) == {"report": str(out / "report.html")}
    assert (out / "report.html").read_bytes() == page


def test_natural_images_in_the_report(call, job, tmp_path):
    words, out = job
    call(*words)
    assert "A natural image" not in (out / "report.html").read_text(encoding="utf-8")
    folder = tmp_path / "named"
    folder.mkdir()
    Image.new("RGB", (20, 20), (200, 0, 0)).save(folder / "lion.png")
    assert call("report", out, "--reference-images", folder).code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('aria-label="A natural image of lion"') == 2  # of both seeds
    assert page.count('id="natural-0"') == 1
    line = call("report", out, "--reference-images", tmp_path / "none").complaint
    assert "none do not exist. Name files after their class" in line
    assert "synthetic" not in line


def test_version_and_help(run, call):
    answer = run("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"phosphene, version {phosphene.__version__}\n", "")
    assert call("-h").out == call("--help").out
    assert "Exit codes" in call("--help").out
    bare = call()
    assert bare.code == 0
    assert bare.out == call("--help").out  # whoever types the bare name is shown what there is, in lines


def test_the_installed_command_is_this_entry_point():
    (script,) = entry_points(group="console_scripts", name="phosphene")
    assert script.value == "phosphene.cli:entry"


@pytest.mark.parametrize("words", [["recipes"], ["--help"], ["recipes", "--help"]])
def test_a_closed_pipe_ends_the_command_as_it_ends_others(words):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command(*words), stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_error_whose_line_nobody_can_read_is_exit_code_2(debug):
    read, write = os.pipe()
    os.close(read)
    facts = {**os.environ, "PHOSPHENE_DEBUG": debug}
    done = subprocess.run(command("score", "nowhere"), stderr=write, env=facts, check=False, timeout=PATIENCE)
    os.close(write)
    assert done.returncode == 2  # Python's own is 1, a suspected backdoor


def test_a_full_disk_behind_stdout_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("recipes"), stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE
        )
    assert done.returncode == 2
    line = "the disk is full while writing the output: free some space and run the same command again."
    assert done.stderr == f"phosphene: {line}\n"


def test_closed_output_and_errors_are_lost_and_the_work_is_done(job, tmp_path):
    words, out = job
    closed = shlex.join(command(*words)) + " >&- 2>&-"
    done = subprocess.run(["sh", "-c", closed], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(out.glob("maps/*/*/map.json"))) == 4
