"""The Python functions: what they take, what they refuse in one line, and that files and memory hold the same."""

import inspect
import json
import os
import pickle
import re
import typing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import phosphene as ph
from phosphene import checked
from phosphene.backdoor import plant, training
from phosphene.callbacks import MapEvery
from phosphene.errors import PhospheneError, PhospheneWarning, RecipeError
from phosphene.runs.predictions import read_predictions
from phosphene.workflows.demo import DemoResult
from tests import tiny
from tests.web import write_scan

HOW = {"recipe": "quick", "overrides": tiny.SHORT, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def network():
    return tiny.classifier()


@pytest.fixture(scope="module")
def maps(network):
    """Two seeds of two concepts, in memory."""
    return ph.map_concepts(network, ["lion", 4], seeds=2, **HOW)


@pytest.fixture
def runs(tmp_path):
    """Two runs of the demo network, with two concepts each."""
    how = {**HOW, "overrides": {"steps": 2, "refine_steps": 1}}
    for seed in (0, 1):
        ph.map_concepts("demo:shapes", ["star", "heart"], seed=seed, out=tmp_path / str(seed), **how)
    return tmp_path / "0", tmp_path / "1"


# --- map


@pytest.mark.parametrize("concept", ["lion", 0, "0"])
def test_one_concept_needs_no_list(network, concept):
    (one,) = ph.map_concepts(network, concept, **HOW)
    assert one.index == 0


def test_a_concept_of_a_map_is_as_good_as_its_name(network, tmp_path):
    named = ["lion", "lion vs 4", "lion + 4 vs 3", "0 + 1", "unit:2:3"]
    made = ph.map_concepts(network, named, out=tmp_path / "run", frames=2, **HOW)
    concepts = [one.concept for one in made]
    again = ph.map_concepts(network, concepts, **HOW)
    assert [one.concept for one in again] == concepts
    assert [one.concept for one in ph.map_concepts(network, concepts[1], **HOW)] == concepts[1:2]
    assert all(made[one][0].concept == one for one in concepts)
    assert Path(ph.film(made, tmp_path / "film.webp", concepts=concepts)).exists()
    with pytest.raises(PhospheneError, match="no class is called 'lion"):
        ph.map_concepts("demo:shapes", concepts[0], **HOW)


def test_samples_that_a_score_would_not_use_are_refused(maps, runs):
    for what in (maps, runs[0], runs):
        with pytest.raises(PhospheneError, match=r"samples are for maps of outputs of a regression network, .*leave"):
            ph.score(what, samples="nope", progress=False)


@pytest.mark.parametrize("out", [None, "run"])
def test_a_number_of_channels_without_a_layer_to_choose_them_from_is_refused(network, tmp_path, out):
    where = out and tmp_path / out
    for concepts in ("lion", ["unit:2:1", "lion"], None):
        with pytest.raises(PhospheneError, match=r"how many channels unit:LAYER:\* stands for.*leave it out"):
            ph.map_concepts(network, concepts, most=2, out=where, **HOW)
    assert len(ph.map_concepts(network, ["lion", "unit:2:*"], most=2, out=where, **HOW)) == 3


def test_a_spec_is_as_good_as_a_classifier():
    (one,) = ph.map_concepts("demo:shapes", "star", **{**HOW, "overrides": {"steps": 1, "refine_steps": 1}})
    assert one.label == "star"


def test_one_model_and_one_recipe_need_no_list(tmp_path):
    how = {**HOW, "recipes": HOW["recipe"], "out": tmp_path, "dry_run": True}
    del how["recipe"]
    (planned,) = ph.map_models("demo:shapes", "star", **how)
    assert (planned.plan.classifier.name, planned.plan.recipe.name) == ("shapes", "quick with changes")


def test_samples_are_loaded_for_a_classifier(network):
    pool = ph.load_samples("synthetic:noise", network)
    assert pool.sha256 == ph.load_samples("synthetic:noise", network.input.shape).sha256


def test_maps_are_found_by_name_position_and_slice(maps):
    assert [one.seed for one in maps["lion"]] == [0, 1]
    assert [one.index for one in maps["4"]] == [4, 4]
    assert maps[1].seed == 1
    assert maps[1:3].origin is maps.origin
    with pytest.raises(PhospheneError, match="has no map of 'castle': it has 0"):
        maps["castle"]


def test_maps_in_memory_and_in_a_run_are_the_same(network, maps, tmp_path):
    written = ph.map_concepts(network, ["lion", 4], seeds=2, out=tmp_path / "run", **HOW)
    assert [(one.index, one.seed) for one in written] == [(one.index, one.seed) for one in maps]
    assert all((a.nu - b.nu).abs().max() < 1e-3 for a, b in zip(written, maps, strict=True))
    assert (tmp_path / "run" / "report.html").exists()
    run = ph.open_run(tmp_path / "run")
    assert len(list(run.maps())) == 4
    assert [(one.short, one.seed) for one in run["lion"]] == [(one.short, one.seed) for one in maps["lion"]]
    assert len(run[maps[0].concept]) == 2
    assert [(one.index, one.seed) for one in run] == [(one.index, one.seed) for one in written]
    assert ph.m_score(run, network) == ph.m_score(list(run.maps()), network)
    with pytest.raises(PhospheneError, match="castle"):
        run["castle"]


def test_a_run_is_not_continued_with_outputs_read_otherwise(tmp_path):
    """Maps of a softmax would pass for those of independent outputs."""
    networks = [tiny.classifier(labels=None, output=kind) for kind in ("auto", "multi-label")]
    ph.map_concepts(networks[0], 0, out=tmp_path / "run", **HOW)
    with pytest.raises(PhospheneError, match=r"another model .*; this one is tiny, [0-9a-f]{8}, multi-label"):
        ph.map_concepts(networks[1], 0, out=tmp_path / "run", **HOW)


def test_a_network_that_is_trained_on_is_another_one(tmp_path, monkeypatch):
    """Maps of its old weights must not pass for its own: neither those of a run, nor those in memory."""
    monkeypatch.chdir(tmp_path)
    network, how = tiny.classifier(), {"recipes": "quick", "overrides": tiny.SHORT, "device": "cpu", "progress": False}
    sha256, maps = network.sha256, ph.map_concepts(network, 0, **HOW)
    (old,) = ph.map_models(network, 0, **how)
    network.module[7].bias.data += torch.arange(5)  # which leaves no trace in the tensor's version
    with pytest.raises(PhospheneError, match="belongs to another model"):
        ph.map_concepts(network, 0, out=old.run.path, **HOW)
    (new,) = ph.map_models(network, 0, **how)
    assert new.run.path == old.run.path.with_name(f"{old.run.path.name}-{network.sha256[:6]}")
    assert new.maps[0].made
    for judge in (ph.score, ph.check):
        with pytest.raises(PhospheneError, match="tiny has changed since these maps were made: map it again"):
            judge(maps, progress=False)
    old_weights = tiny.classifier()
    assert (
        len(ph.score(maps, old_weights, progress=False))
        == len(ph.check(maps, model=old_weights, only="fidelity", progress=False))
        == 1
    )
    saved = maps.save("saved")
    assert saved.facts()["model"]["sha256"] == sha256 != network.sha256
    assert read_predictions(saved) == []  # what the network predicts now is not what the maps' own predicted


def test_maps_are_saved_as_a_run_with_a_report(maps, tmp_path):
    part = maps["lion"]
    with pytest.raises(PhospheneError, match=r"maps\.save"):
        part.report()
    run = part.save(tmp_path / "run")
    assert [one.seed for one in run.maps()] == [0, 1]
    assert "lion" in Path(part.report()).read_text(encoding="utf-8")
    assert [one.seed for one in ph.ConceptMaps(list(maps["4"])).save(tmp_path / "other")] == [0, 1]
    with pytest.raises(PhospheneError, match="what map_concepts returned"):
        run["lion"].save(tmp_path / "third")


def test_maps_of_another_network_or_recipe_are_not_saved_as_of_this_one(network, maps, tmp_path):
    mine = maps["lion"]
    for other in (tiny.classifier(seed=1), network):
        changed = {**HOW, "overrides": tiny.SHORT | {"steps": 2 + (other is not network)}}
        mixed = mine[:]
        mixed += ph.map_concepts(other, 4, **changed)
        with pytest.raises(PhospheneError, match="maillot was not made from the model, recipe and samples"):
            mixed.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    mine += ph.map_concepts(network, 4, **HOW)
    assert len(list(mine.save(tmp_path / "run").maps())) == 3


def test_maps_in_a_list_are_told_apart(maps):
    assert maps.index(maps[1]) == 1
    assert maps[1] in maps
    assert maps == maps[:]
    assert maps != maps[::-1]


def test_frames_of_maps_in_a_run_are_there_as_in_memory(network, tmp_path):
    (one,) = ph.map_concepts(network, 0, frames=3, out=tmp_path / "run", **HOW)
    assert len(one.frames) == len(ph.map_concepts(network, 0, frames=3, **HOW)[0].frames) == 3


@pytest.mark.parametrize("name", ["grid.png", "grid.PDF", "grid.jpg"])
def test_the_path_of_an_image_is_no_run_directory(maps, tmp_path, name):
    with pytest.raises(PhospheneError, match=r"maps\.grid\(\)\.save"):
        maps.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["grid.png", "grid.pdf", "grid.svg"])
def test_a_grid_is_saved(maps, tmp_path, name):
    grid = maps.grid(columns=3, size=24)
    path = grid.save(tmp_path / name)
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<svg"}[path.suffix]
    assert path.read_bytes().startswith(start)
    if path.suffix == ".svg":
        assert path.read_text(encoding="utf-8").count("<image") == 4
    if path.suffix == ".png":
        with Image.open(path) as image:
            assert image.size == grid.image.size


def test_numbers_of_numpy_are_as_good_as_those_of_python(network):
    three = np.int64(3)
    recipe = ph.Recipe(**tiny.SHORT | {"steps": three, "radius": np.float32(2)})
    assert recipe.sha256 == ph.Recipe(**tiny.SHORT | {"steps": 3, "radius": 2}).sha256
    made = ph.map_concepts(network, "lion", seed=three, seeds=np.int64(2), recipe=recipe, device="cpu", progress=False)
    assert [(one.seed, type(one.seed)) for one in made] == [(3, int), (4, int)]
    grouped = tiny.classifier(groups={"birds": [np.int64(1), 2]}, batch=three)
    assert grouped.labels.groups == {"birds": (1, 2)}
    assert type(grouped.batch) is int


@pytest.mark.parametrize(
    "indices",
    [torch.tensor([0, 4]), np.array([0, 4]), [torch.tensor(0), np.array(4)], (one for one in torch.tensor([0, 4]))],
    ids=["tensor", "array", "list", "generator"],
)
def test_tensors_of_indices_are_concepts(network, indices):
    made = ph.map_concepts(network, indices, **HOW)
    assert [(one.index, type(one.index)) for one in made] == [(0, int), (4, int)]


def test_a_single_index_in_a_tensor_is_a_concept(network):
    assert [one.index for one in ph.map_concepts(network, torch.tensor(4), **HOW)] == [4]


def test_a_device_of_torch_is_as_good_as_its_name(network, maps, tmp_path):
    cpu = torch.device("cpu")
    (made,) = ph.map_concepts(network, "lion", **HOW | {"device": cpu}, out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["device"] == "cpu"
    assert made.device == maps[0].device
    (row,) = ph.score(maps, network, device=cpu, progress=False)
    assert ph.m_score(maps, network, device=cpu) == row.m_score
    assert [one.name for one in ph.check(maps, only="fidelity", device=cpu, progress=False)] == ["fidelity"]
    assert "predictions" in ph.doctor(network, device=cpu)
    assert MapEvery(network, ["lion"], overrides=tiny.SHORT, device=cpu).device == "cpu"
    planned = ph.scan(network, device=cpu, alpha=0.25, out=tmp_path / "scan", dry_run=True, progress=False)
    assert planned.device == "cpu"


def test_the_machine_s_figures_are_numbers():
    facts = ph.doctor()
    assert facts["cores"] == os.cpu_count()
    assert facts["threads"] == torch.get_num_threads()


def test_a_warning_points_at_the_line_of_the_caller(network):
    """Also of a function that is wrapped, and where no progress is shown that it would be part of."""
    maps = ph.map_concepts(network, ["lion + 4", "lion"], **HOW)
    with pytest.warns(PhospheneWarning, match="share") as warned:
        ph.score(maps, network, progress=False)
    assert {one.filename for one in warned} == {__file__}


def test_numbers_of_numpy_in_a_scan_are_written_as_those_of_python(network, tmp_path):
    plan = ph.scan(
        network, seed=np.int64(1), alpha=np.float32(0.25), pairs=np.True_, out=tmp_path, dry_run=True, progress=False
    )
    request = json.loads(json.dumps(plan.request))
    assert request["settings"] == {"pairs": True, "seed": 1, "precision": "auto"}
    assert request["alpha"] == 0.25


def test_progress_is_reported_and_shown(network, capfd):
    seen = []
    ph.map_concepts(network, [0, 1], **{**HOW, "progress": True}, on_progress=seen.append)
    assert seen[-1].maps_total == 2
    assert seen[-1].step.number == seen[-1].step.total
    shown = capfd.readouterr()
    assert "loss" in shown.err
    assert shown.out == ""
    ph.map_concepts(network, [0], **HOW)
    assert capfd.readouterr().err == ""


def test_one_line_in_a_notebook(network, capfd, monkeypatch):
    monkeypatch.setattr("phosphene.progress._in_notebook", lambda: True)
    ph.map_concepts(network, [0], **{**HOW, "progress": True})
    err = capfd.readouterr().err
    assert "\r" in err
    assert "\n" not in err


# --- score, check, compare


def test_runs_and_maps_are_scored_alike(runs):
    in_memory = ph.score(
        [replace(one) for one in ph.open_run(runs[0])], "demo:shapes-plain", progress=False, device="cpu"
    )
    assert not (runs[0] / "scores.json").exists()
    of_runs = ph.score(runs, ["demo:shapes-plain"], progress=False, device="cpu")
    assert [one.target for one in of_runs] == ["shapes-plain", "shapes-plain"]
    assert abs(in_memory[0].m_score - of_runs[0].m_score) < 1e-3
    assert [one.run for one in of_runs] == list(runs)
    assert all((run / "scores.json").exists() for run in runs)


def test_m_score_takes_what_a_score_takes(network):
    made = ph.map_concepts(network, ["lion", 4, "unit:2:3"], **HOW)
    classes = [one for one in made if not one.concept.unit]
    assert ph.m_score(iter(classes), network) == ph.m_score(classes, network)
    with pytest.raises(PhospheneError, match="of classes, and some of these are of units: leave them out"):
        ph.m_score(made, network)
    shapes = ph.map_concepts("demo:shapes", ["star", "heart"], **{**HOW, "overrides": {"steps": 1, "refine_steps": 1}})
    assert 0.5 <= ph.m_score(shapes, "demo:shapes-plain") <= 1


def test_a_score_of_maps_reports_progress(maps, network):
    seen = []
    ph.score(maps, [network, tiny.classifier(name="other")], on_progress=lambda *one: seen.append(one), progress=False)
    assert seen == [(0, 2, "tiny"), (1, 2, "other")]


def test_maps_are_scored_on_their_own_classifier_by_default(maps):
    (own,) = ph.score(maps, progress=False)
    assert own.source == own.target == "tiny"


def test_a_check_of_a_run_and_of_maps(runs, maps):
    seen = []
    assert [one.name for one in ph.check(maps, only="fidelity", progress=False, on_finding=seen.append)] == ["fidelity"]
    assert len(seen) == 1
    planned = ph.check(maps, dry_run=True, progress=False)
    assert planned == []
    assert "seeds" in str(planned.plan)
    planned = ph.check(runs[0], dry_run=True, progress=False)
    assert planned == []
    assert "seeds" in str(planned.plan)
    seen = []
    found = ph.check(runs[0], only=["fidelity"], progress=False, on_finding=seen.append)
    assert seen == found
    assert pickle.dumps(found)
    assert (runs[0] / "checks.json").exists()
    assert "fidelity" in found._repr_html_()


def test_a_run_of_a_classifier_made_in_python_is_checked_with_it(network, maps, tmp_path):
    made = ph.map_concepts(network, 0, out=tmp_path / "run", **HOW)
    how = {"only": "fidelity", "progress": False}
    with pytest.raises(
        PhospheneError,
        match=r"^\S*run was mapped from a network in memory, which no spec loads: give it \(--model, or model= in Python\)\.$",
    ):
        ph.check(tmp_path / "run", **how)
    with pytest.raises(
        PhospheneError, match=r"^\S*run was mapped from a network in memory, .* targets= in Python\)\.$"
    ):
        ph.score(tmp_path / "run", progress=False)
    assert [one.name for one in ph.check(tmp_path / "run", model=network, **how)] == ["fidelity"]
    assert [one.name for one in ph.check(made, **how)] == ["fidelity"]
    with pytest.raises(PhospheneError, match="has other weights"):
        ph.check(tmp_path / "run", model=tiny.classifier(seed=1), **how)
    says = r"has another mean \(\[0.4, 0.4, 0.4\]\) than the network that made .* \(\[0.5, 0.5, 0.5\]\)"
    with pytest.raises(PhospheneError, match=says):
        ph.check(tmp_path / "run", model=tiny.classifier(mean=(0.4,) * 3), **how)
    with pytest.raises(PhospheneError, match="leave model out"):
        ph.check(maps, model=tiny.classifier(seed=1), **how)
    assert [one.name for one in ph.check(maps, model=network, **how)] == ["fidelity"]


def test_two_runs_are_compared(runs, tmp_path):
    found = ph.compare(runs[0], ph.open_run(runs[1]), out=tmp_path / "compare.html")
    assert {one.label for one in found.changes} == {"star", "heart"}
    assert "star" in found._repr_html_()
    assert (tmp_path / "compare.html").exists()


def test_a_report_is_written_by_path(runs):
    (runs[0] / "report.html").unlink()
    assert ph.report(runs[0]) == runs[0] / "report.html"
    assert (runs[0] / "report.html").exists()


def test_a_report_is_written_of_saved_maps(maps, tmp_path):
    saved = maps["lion"]
    saved.save(tmp_path / "run")
    assert ph.report(saved) == tmp_path / "run" / "report.html"
    with pytest.raises(PhospheneError, match=r"a run is the path of a run directory, .*, not int '4'"):
        ph.report(4)


# --- what they refuse

MODULE = torch.nn.Linear(1, 1)
WRONG = {
    "a bare module": (lambda _: ph.map_concepts(MODULE, "lion", **HOW), r"give phosphene\.Classifier\(module"),
    "no model": (lambda _: ph.map_concepts(3, "lion", **HOW), "a model is a spec such as"),
    "no concept": (lambda _: ph.map_concepts("demo:shapes", 1.5, **HOW), "a concept is the index of a class"),
    "a bool": (lambda _: ph.map_concepts("demo:shapes", [True], **HOW), "a concept is the index of a class"),
    "empty": (lambda _: ph.map_concepts("demo:shapes", [], **HOW), "no concept was given"),
    "samples": (lambda _: ph.map_concepts("demo:shapes", "star", samples=7, **HOW), "samples are a spec"),
    "seeds": (lambda _: ph.map_concepts("demo:shapes", "star", seeds=0, **HOW), "seeds=1 or more"),
    "workers": (lambda _: ph.map_concepts("demo:shapes", "star", workers=2, **HOW), "give out='runs/NAME'"),
    "score": (lambda _: ph.score(5, "demo:shapes", progress=False), "a run is the path of a run directory"),
    "target": (lambda maps: ph.score(maps, MODULE, progress=False), "a bare torch module"),
    "check": (lambda _: ph.check(None, progress=False), "a run is the path of a run directory"),
    "unsaved": (lambda maps: ph.compare([replace(maps[0])], maps), "these maps are in memory only: maps.save"),
    "report": (lambda _: ph.report(4), "a run is the path of a run directory"),
    "open_run": (lambda _: ph.open_run(None), "a run is the path of a run directory"),
    "no maps to score": (lambda _: ph.score([], progress=False), "there are no maps to score"),
    "no maps to check": (lambda _: ph.check(ph.ConceptMaps(), progress=False), "there are no maps in this list"),
    "no maps to save": (lambda _: ph.ConceptMaps().save("runs/x"), "there are no maps in this list"),
    "no maps to report": (lambda _: ph.report(ph.ConceptMaps()), "a run is the path of a run directory"),
    "a list of others": (lambda _: ph.ConceptMaps("runs/x"), "a list of maps, not of str 'runs/x': ph.open_run"),
    "a sum with others": (lambda maps: sum([[3]], maps), "a list of maps, not of int '3'"),
    "film": (lambda _: ph.film(1), "a run is the path of a run directory"),
    "card": (lambda _: ph.card(None), "a model is a spec such as"),
    "overrides": (lambda _: ph.map_concepts("demo:shapes", "star", overrides=["steps=3"]), "must be a dictionary"),
    "recipe": (lambda _: ph.map_models("demo:shapes", "star", recipes="quik", dry_run=True), "Did you mean quick"),
    "out": (lambda _: ph.map_concepts("demo:shapes", "star", out=5), "out is int '5'; it must be text or a path"),
    "trust": (lambda _: ph.load("demo:shapes", trust="no"), "trust is str 'no'; it must be True or False"),
    "frames": (lambda _: ph.map_concepts("demo:shapes", "star", frames="x"), "must be a whole number"),
    "seeds one by one": (
        lambda _: ph.map_concepts("demo:shapes", "star", seeds=[3, 4]),
        "number: seed=3, seeds=2 makes maps",
    ),
    "a bool for a number": (lambda _: ph.map_concepts("demo:shapes", "star", seeds=True), "must be a whole number"),
    "callback": (lambda _: ph.map_concepts("demo:shapes", "star", on_progress=3), "must be a function"),
    "pool": (lambda _: ph.load_samples("synthetic:noise", 96), "give the classifier"),
    "save": (lambda maps: maps.save(5), "path is int '5'"),
    "columns": (lambda maps: maps.grid(columns="a"), "columns is str 'a'; it must be a whole number"),
    "size": (lambda maps: maps.grid(size="big"), "size is str 'big'; it must be a whole number"),
    "grid": (lambda maps: maps.grid().save(5), "path is int '5'"),
    "report columns": (lambda _: ph.report("runs/x", columns="x"), "columns is str 'x'"),
    "most": (lambda maps: ph.check(maps, most="x"), "most is str 'x'; it must be a whole number"),
    "only": (lambda maps: ph.check(maps, only=3), "only is int '3'; it must be text or a list"),
    "alpha": (lambda _: ph.scan("demo:shapes", alpha="x"), "alpha is str 'x'; it must be a number"),
    "fps": (lambda _: ph.film("runs/x", fps="x"), "fps is str 'x'; it must be a number"),
    "compare out": (lambda _: ph.compare("runs/x", "runs/y", out=5), "out is int '5'"),
    "report size": (lambda _: ph.report("runs/x", size=0), "columns=None and size=0 is empty: give 1 or more"),
    "seed": (lambda _: ph.map_concepts("demo:shapes", "star", seed=2**40), "seeds from 0 to 4294967295"),
    "scan seed": (lambda _: ph.scan("demo:shapes", seed=2**62), "seeds from 0 to 4294967295"),
    "scan out": (lambda _: ph.scan("demo:shapes", out=5), "out is int '5'; it must be text or a path"),
    "scan recipe": (lambda _: ph.scan("demo:shapes", recipe="quick"), "maps of suspects.*: give out="),
    "no concepts to check": (lambda maps: ph.check(maps, most=0), "most is 0; it must be 1 or more"),
    "no channels": (lambda _: ph.map_concepts("demo:shapes", "unit:stem:*", most=0), "most is 0; it must be 1"),
    "frames of runs": (lambda _: ph.map_models("demo:shapes", "star", frames=-1), "frames is -1; it must be 0 or more"),
    "channels of runs": (lambda _: ph.map_models("demo:shapes", "unit:stem:*", most=-1), "most is -1; it must be 1"),
    "confused": (lambda _: ph.map_models("demo:shapes", confused=-1), "confused is -1; it must be 0 or more"),
    "no workers": (lambda _: ph.map_models("demo:shapes", "star", workers=0), "workers is 0; it must be 1 or more"),
    "gpus": (lambda _: ph.map_models("demo:shapes", "star", gpus=float("nan")), "gpus is nan; it must be 0 or more"),
    "batch": (
        lambda _: ph.Classifier(MODULE, size=9, batch=0),
        "batch of classifier is 0; it is a number of images, 1",
    ),
    "field": (lambda _: ph.Recipe(stepz=1), "recipe has no field 'stepz'. Did you mean steps"),
    "no text": (
        lambda _: ph.map_concepts("demo:shapes", "star", overrides={3: 3}),
        "recipe has no field 3. Fields: name",
    ),
    "a value": (lambda _: ph.Recipe("quick"), r"name its fields, such as phosphene\.Recipe\(steps=100\)"),
    "a tensor": (lambda _: ph.map_concepts("demo:shapes", torch.tensor([1.5]), **HOW), "not float '1.5'"),
    "two rows": (lambda _: ph.map_concepts("demo:shapes", torch.zeros(1, 2).int(), **HOW), r"not list '\[0, 0\]'"),
    "a device": (lambda _: ph.doctor(device=3), "device is int '3'; it must be text or a torch.device"),
    "concepts and pairs": (
        lambda _: ph.map_models("demo:shapes", "star", confused=1, progress=False),
        "confused pairs are mapped in place of concepts: leave out one or the other",
    ),
    "no concepts and pairs": (
        lambda _: ph.map_models("demo:shapes", [], confused=1, progress=False),
        "confused pairs are mapped in place of concepts",
    ),
    "bytes": (lambda _: ph.map_concepts("demo:shapes", b"a", **HOW), "a concept is .*, not bytes"),
    "no map": (
        lambda _: ph.render(torch.zeros(4, 4)),
        r"maps are floats \(\.\.\., c, h, w\), not torch.float32 \(4, 4\)",
    ),
    "whole numbers": (lambda _: ph.render(torch.zeros(3, 4, 4).int()), r"maps are floats .*, not torch.int32"),
    "no models": (
        lambda _: ph.map_models([], "star", progress=False),
        "nothing is mapped without a model and a recipe",
    ),
    "no recipes": (lambda _: ph.map_models("demo:shapes", "star", recipes=[]), "nothing is mapped without"),
    "sides": (lambda _: ph.load_samples("synthetic:mixed", (3, -8, 8)), "shape of a network's input"),
    "floats": (lambda _: ph.load_samples("synthetic:mixed", (3, 8.0, 8)), "shape of a network's input"),
    "m_score": (lambda maps: ph.m_score(maps, MODULE), "a bare torch module"),
    "m_score of a run": (lambda _: ph.m_score("runs/x", "demo:shapes"), r"not of str 'runs/x': .*open_run\(PATH\)"),
    "m_score of numbers": (lambda _: ph.m_score([1, 2], "demo:shapes"), "M_score is of maps, not of int '1'"),
    "a list of recipes": (lambda _: ph.map_models("demo:shapes", 0, recipes=[{"steps": 2}]), "no recipe is called"),
    "a list of targets": (lambda maps: ph.score(maps, [["a"]]), "a model is a spec such as"),
    "a list of checks": (lambda maps: ph.check(maps, only=[["a"]]), "no check is called"),
    "serve": (lambda _: ph.serve(5), "folder is int '5'"),
    "list_specs": (lambda _: ph.list_specs(3), "prefix is int '3'; it must be text"),
    "render": (lambda _: ph.render("x"), "nu is str 'x'; it must be a tensor"),
    "input size": (
        lambda _: ph.Classifier(MODULE, size="96"),
        "size is str '96'; it must be a whole number or a tuple",
    ),
    "labels": (lambda _: ph.Classifier(MODULE, size=9, labels="star"), "labels is str 'star'; it must be a list"),
    "no size": (lambda _: ph.Classifier(MODULE), "Classifier: missing a required .*'size'.*Options: module, size"),
    "two names": (lambda maps: maps["lion", "crane"], r"one name at a time, such as maps\['lion'\]"),
    "doctor": (lambda _: ph.doctor(2), "a model is a spec such as"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_type_gets_one_line_with_the_fix(maps, name):
    call, message = WRONG[name]
    with pytest.raises(PhospheneError, match=message) as error:
        call(maps)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ph.scan("demo:shapes", alpha="x"),
        lambda: ph.scan("demo:shapes", alfa=1),
        lambda: ph.load_samples("synthetic:mixed"),
        lambda: ph.map_concepts("demo:shapes", "star", alfa=1),
        lambda: ph.map_models("demo:shapes", "star", frames=-1),
        lambda: ph.map_models([], "star", progress=False),
    ],
    ids=["type", "option", "missing", "keyword", "least", "nothing"],
)
def test_an_argument_that_does_not_fit_is_a_type_error_and_no_error_of_the_recipe(call):
    with pytest.raises(ph.errors.ArgumentError) as error:
        call()
    assert isinstance(error.value, TypeError)
    assert isinstance(error.value, PhospheneError)
    assert not isinstance(error.value, RecipeError)


LONG = "x" * 300  # no file system has so long a name
NULL = "leave out the null character, which no path has"
NO_PATH = {
    "model": (lambda _: ph.load(LONG), "there is no model"),
    "weights": (lambda _: ph.card(f"{LONG}.safetensors"), "there is no model"),
    "factory": (lambda _: ph.load(f"{LONG}.py:build"), "there is no model"),
    "folder of the hub": (lambda _: ph.load(f"hf:{LONG}"), "hf:x"),
    "samples": (lambda _: ph.load_samples(LONG, (3, 8, 8)), "do not exist"),
    "sample file": (lambda _: ph.load_samples(f"{LONG}.npz", (3, 8, 8)), "does not exist"),
    "run": (lambda _: ph.open_run(LONG), "is not a run directory"),
    "out": (lambda _: ph.map_concepts("demo:shapes", "star", out=LONG, **HOW), "File name too long. Choose another"),
    "save": (lambda maps: maps.save(LONG), "File name too long. Choose another"),
    "card out": (lambda _: ph.card("demo:shapes", f"{LONG}.toml"), "File name too long. Choose another"),
    "serve": (lambda _: ph.serve(LONG), "is not a directory"),
    "null in model": (lambda _: ph.load("a\0"), NULL),
    "null in samples": (lambda _: ph.load_samples(Path("a\0"), (3, 8, 8)), NULL),
    "null in run": (lambda _: ph.open_run("a\0"), NULL),
    "null in scan": (lambda _: ph.open_scan(Path("a\0")), NULL),
    "null in OpenRun": (lambda _: ph.OpenRun("a\0"), NULL),
    "null in runs": (lambda _: ph.site(["a\0"]), NULL),
    "null in site": (lambda maps: ph.site(maps, "a\0"), NULL),
    "null in film": (lambda maps: ph.film(maps, "a\0.webp"), NULL),
    "null in grid": (lambda maps: maps.grid().save("a\0.png"), NULL),
    "null in compare": (lambda maps: ph.compare(maps, maps, out="a\0.html"), NULL),
    "null in out": (lambda _: ph.map_concepts("demo:shapes", "star", out="a\0", **HOW), NULL),
    "null in save": (lambda maps: maps.save(Path("a\0")), NULL),
    "null in card": (lambda _: ph.card("demo:shapes", "a\0.toml"), NULL),
}


@pytest.mark.parametrize("name", NO_PATH)
def test_what_no_file_can_be_called_gets_one_line(maps, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = NO_PATH[name]
    with pytest.raises(PhospheneError, match=message) as error:
        call(maps)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


OPTIONS = {
    "stepz": "overrides={'FIELD': VALUE}",
    "devise": "device?",
    "gpuz": "gpus?",
    "qqqq": "Options: model",
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("function", [ph.map_concepts, ph.map_models])
def test_an_unknown_option_is_named_with_the_one_that_it_is_most_like(function, option):
    with pytest.raises(PhospheneError, match=f"unexpected keyword argument '{option}'.*{re.escape(OPTIONS[option])}"):
        function("demo:shapes", "star", **{option: 4})


def test_every_public_object_says_in_one_line_what_it_is(maps, runs, network):
    objects = [maps, maps[0], maps.grid(), network, network.labels, ph.open_run(runs[0]), ph.compare(*runs)]
    objects += [ph.check(runs[0], only="fidelity", progress=False)]
    pool = ph.load_samples("synthetic:noise", network.input.shape)
    (mapped,) = ph.map_models(["demo:shapes"], "star", out=runs[0].parent / "planned", dry_run=True, progress=False)
    write_scan(ph.open_run(runs[0]), "clean", suspects=[])
    verdict = ph.open_scan(runs[0])
    demo = DemoResult([maps[0]], "runs/demo/report.html", {}, {"demo:shapes": verdict}, as_expected=True)
    objects += [pool, mapped, demo, *ph.score(maps, progress=False), verdict]
    for one in objects:
        assert re.match(r"[A-Z]\w+\(.+\)$", repr(one)), repr(one)
        assert len(repr(one).replace(str(runs[0].parent), "")) < 160, repr(one)
        assert "\n" not in repr(one)
    c, h, w = network.input.shape
    held_out = len(pool.held_out)
    assert repr(pool) == f"SamplePool('synthetic:noise', {len(pool)} samples, {held_out} held out, {c} x {h} x {w})"
    assert repr(mapped).endswith(", 1 map of shapes)")
    assert repr(demo) == "DemoResult('runs/demo/report.html', 1 map; demo:shapes clean; as expected)"


MODEL_FUNCTIONS = [
    *(getattr(ph, name) for name in ph.__all__ if inspect.isfunction(getattr(ph, name))),
    *(MapEvery.__init__, plant.plant, plant.clean_twin, plant.fine_tune, plant.accuracy, plant.success_rate),
    *(training.Labelled.load, training.predictions),
]


def test_what_takes_the_spec_of_a_model_takes_trust():
    taken = 0
    for function in MODEL_FUNCTIONS:
        hints = typing.get_type_hints(function)
        if any(ph.Classifier in typing.get_args(hint) and str in typing.get_args(hint) for hint in hints.values()):
            assert "trust" in hints, function.__qualname__
            taken += 1
    assert taken >= 15


def test_code_runs_where_it_is_trusted_only(maps, card, sample_folder):
    samples = training.Labelled.load(sample_folder, tiny.classifier())
    calls = {
        "m_score": lambda **trust: ph.m_score(maps, card.path, **trust),
        "MapEvery": lambda **trust: MapEvery(card.path, 0, recipe="quick", overrides=tiny.SHORT, **trust),
        "load": lambda **trust: training.Labelled.load(sample_folder, card.path, **trust),
        "accuracy": lambda **trust: plant.accuracy(card.path, samples, **trust),
    }
    for call in calls.values():
        with pytest.raises(ph.errors.TrustError, match="--trust"):
            call()
        assert call(trust=True) is not None


def test_every_function_refuses_wrong_types_by_its_annotations():
    functions = [getattr(ph, name) for name in ph.__all__ if inspect.isfunction(getattr(ph, name))]
    functions += [ph.Classifier.__init__, ph.ConceptMaps.grid, ph.ConceptMaps.save]
    refused = 0
    for function in functions:
        hints = typing.get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
        needed = [one.name for one in parameters if one.default is one.empty and one.name != "self"]
        given = {
            name: next(one for one in ("x", [], torch.zeros(1)) if not checked.wanted(hints[name], one))
            for name in needed
        }
        given |= {"self": None} if "self" in inspect.signature(function).parameters else {}
        for option in [one.name for one in parameters if one.kind is not one.VAR_KEYWORD and one.name in hints]:
            if wanted := checked.wanted(hints[option], object()):  # else its own message says more
                with pytest.raises(
                    PhospheneError, match=f"{option} is .*; it must be {re.escape(wanted)}|not by object"
                ):
                    function(**{**given, option: object()})
                refused += 1
    assert refused > 60
