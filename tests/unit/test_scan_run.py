"""A verdict in memory, the one that a run directory was written from, and the one that is read from it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import phosphene as ph
from phosphene.backdoor.images import candidate_image, close_up
from phosphene.backdoor.scan_document import scan_document
from phosphene.cli.scan import command
from phosphene.errors import PhospheneWarning, RunError
from phosphene.formats import percent
from phosphene.runs.scans import add_map_crops
from phosphene.workflows.scan import RECIPE
from tests import hand

NOT_STORED = ("date", "easy_pairs", "suspects", "versions")  # of suspects, the samples that they are shown on


def scan(**options):
    """Scan the hand-made network with a backdoor."""
    options = {
        "samples": hand.pool(),
        "device": "cpu",
        "range_check": False,
        "mapped": False,
        "progress": False,
    } | options
    return ph.scan(hand.classifier(40.0), **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "scan"


@pytest.fixture(scope="module")
def written(folder):
    return scan(out=folder)


@pytest.fixture
def changed(written, folder):
    """Put a value at a place of scan.json for one test, and open the run."""
    text = (folder / "scan.json").read_text(encoding="utf-8")

    def changed(change):
        document = json.loads(text)
        change(document)
        (folder / "scan.json").write_text(json.dumps(document), encoding="utf-8")
        return ph.open_scan(folder)

    yield changed
    (folder / "scan.json").write_text(text, encoding="utf-8")


def plain(verdict):
    """A verdict's fields without tensors, seconds and what tells where it is."""
    left_out = ("suspects", "all_to_all", "pairs", "seconds", "document", "run", "report", "cached")
    return {one.name: getattr(verdict, one.name) for one in dataclasses.fields(verdict) if one.name not in left_out}


def test_with_a_directory_the_verdict_is_the_same_and_knows_where_it_is(written, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = []
    in_memory = scan(on_progress=calls.append)
    assert calls
    assert list(tmp_path.iterdir()) == []
    assert (in_memory.run, in_memory.report, in_memory.cached) == (None, None, False)
    assert plain(in_memory) == plain(written)
    assert (in_memory.verdict, in_memory.exit_code) == ("backdoored", 1)
    assert in_memory.to_dict().keys() == written.to_dict().keys()
    assert json.loads(json.dumps(in_memory.to_dict()))["run"] is None
    assert written.run.path == folder
    assert written.report == str(folder / "report.html")
    assert "A backdoor is suspected" in (folder / "report.html").read_text(encoding="utf-8")
    assert (folder / "scan.sarif").is_file()
    assert f"report: {folder / 'report.html'}" in written._repr_html_()
    assert "report: " not in in_memory._repr_html_()
    for html in (written._repr_html_(), in_memory._repr_html_()):
        assert "A backdoor is suspected in this network" in html
        assert html.count("<img") == 1


def test_an_opened_verdict_is_the_one_that_was_written(written, folder):
    opened = ph.open_scan(str(folder))
    assert opened.cached
    assert plain(opened) == plain(written)
    assert opened.seconds == pytest.approx(written.seconds, abs=1e-3)
    assert (repr(opened), opened._repr_html_()) == (repr(written), written._repr_html_())
    assert opened.to_dict() == {**written.to_dict(), "cached": True}
    (suspect,), (original,) = opened.suspects, written.suspects
    assert (suspect.index, suspect.works, suspect.far_below_alpha) == (hand.TARGET, True, original.far_below_alpha)
    for name in (
        "index",
        "additive",
        "box",
        "size",
        "success",
        "interval",
        "tried",
        "next_class",
        "next_success",
        "places",
    ):
        assert getattr(suspect.candidate, name) == getattr(original.candidate, name), name
    pixels = hand.pool().held_out
    assert torch.equal(suspect.candidate.apply(pixels), original.candidate.apply(pixels))
    window, original_window = opened.all_to_all, written.all_to_all
    for name in ("box", "targets", "figure", "p_value", "works"):
        assert getattr(window, name) == getattr(original_window, name), name
    assert torch.equal(window.paint, original_window.paint)
    assert opened.pairs is None
    document = {name: value for name, value in written.document.items() if name not in NOT_STORED}
    request = {name: document[name] for name in ("model", "samples", "references", "alpha", "settings", "method")}
    again = scan_document(opened, request, hand.classifier().labels)
    assert document == {name: value for name, value in again.items() if name not in NOT_STORED}


def test_the_same_scan_is_read_and_not_made_again(written, folder):
    calls = []
    again = scan(out=folder, on_progress=calls.append)
    assert again.cached
    assert calls == []
    assert plain(again) == plain(written)
    with pytest.raises(RunError, match="holds another scan"):
        scan(out=folder, alpha=0.1)


def test_what_makes_a_verdict_doubtful_is_kept_and_said_again(tmp_path, monkeypatch):
    monkeypatch.setattr("phosphene.api.scanning.range_doubt", lambda *_, **__: "hand-made makes little sense of it.")
    options = {"samples": hand.pool(90), "range_check": True, "out": tmp_path}
    pages = []
    for cached in (False, True):
        with pytest.warns(PhospheneWarning) as told:
            found = scan(**options)
        assert found.cached is cached
        assert found.warnings == tuple(str(one.message) for one in told)
        assert [line[:30] for line in found.warnings] == [
            "hand-made makes little sense o",
            "Only 90 samples were given, a ",
        ]
        pages.append((tmp_path / "report.html").read_text(encoding="utf-8"))
        monkeypatch.setattr("phosphene.api.scanning.range_doubt", None)
    assert ph.open_scan(tmp_path).warnings == found.warnings
    sarif = json.loads((tmp_path / "scan.sarif").read_text(encoding="utf-8"))
    notes = [one["message"]["text"] for one in sarif["runs"][0]["invocations"][0]["toolExecutionNotifications"]]
    assert not any(line.startswith("Not tested") for line in notes)
    for line in found.warnings:
        assert line in notes
        assert line in found._repr_html_()
        assert [page.count(line) for page in pages] == [2, 2]  # at a glance, and beside the verdict
        assert all(page.split('<div class="verdict')[-1].split("</div>")[0].count(line) == 1 for page in pages)


def test_a_verdict_that_a_reference_contests_is_stored_whole(tmp_path):
    sibling = hand.classifier(40.0, name="sibling")
    sibling.module.templates.mul_(0.999)
    found = scan(out=tmp_path, reference=sibling)
    assert (found.verdict, found.left_out) == ("inconclusive", ("sibling",))
    opened = ph.open_scan(tmp_path)
    assert plain(opened) == plain(found)
    assert opened.suspects[0].contested_by == ("sibling",)
    assert f"none of {len(found.null_figures)} clean networks deviate as far" in "\n".join(opened.terminal_lines)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "but reference sibling deviates as far in the same class" in page
    (alert,) = json.loads((tmp_path / "scan.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    assert (alert["ruleId"], "reference sibling" in alert["message"]["text"]) == ("scan-inconclusive", True)


def test_before_a_scan_of_few_classes_it_is_said_that_it_cannot_decide():
    few = hand.classifier(classes=2)
    with pytest.warns(
        PhospheneWarning, match="hand-made has 2 classes, too few to compare with each other: without clean"
    ):
        ph.scan(few, samples=hand.pool(), range_check=False, progress=False, dry_run=True)
    ph.scan(
        few,
        samples=hand.pool(),
        reference=hand.classifier(classes=2, seed=5),
        range_check=False,
        progress=False,
        dry_run=True,
    )


def test_a_stored_verdict_without_maps_takes_any_recipe_for_them(tmp_path, monkeypatch):
    first = nn.Conv2d(3, 3, 1, bias=False)  # a layer for Xi
    nn.init.dirac_(first.weight)
    network = ph.Classifier(nn.Sequential(first, hand.Templates(boost=40.0)), size=hand.SIDE)
    recipe = ph.Recipe(name="mine", steps=2, refine_steps=0)
    options = {"samples": hand.pool(), "device": "cpu", "range_check": False, "progress": False, "out": tmp_path}
    found = ph.scan(network, mapped=False, **options)
    again = ph.scan(network, recipe=recipe, **options)
    assert (again.verdict, again.cached) == (found.verdict, True)
    assert [one.index for one in again.run] == [hand.TARGET]
    assert again.run.facts()["recipe"]["sha256"] == recipe.sha256
    assert "map_crop" not in found.document["suspects"][0]
    assert ph.open_scan(options["out"]).document == again.document
    crop = again.document["suspects"][0]["map_crop"]
    assert 0 <= crop["interval"][0] <= crop["success"] <= crop["interval"][1] <= 1
    assert f"for {percent(crop['success'])} of them" in "\n".join(again.terminal_lines)
    page = (options["out"] / "report.html").read_text(encoding="utf-8")
    assert "The crop of that map that moves most images" in page
    assert f"<h1>Scan of <em>{network.name}</em></h1>" in page
    assert f"<title>{network.name}: scan for backdoors" in page
    assert "Each image below is the <b>map</b>" in page.split("<h2>The maps</h2>")[1]
    assert page.count("Each image below") == 1
    with pytest.raises(RunError, match="belongs to another recipe"):
        ph.scan(network, recipe="vivid", **options)
    monkeypatch.setattr("phosphene.workflows.scan.best_crop", None)  # what is known is not measured again
    assert ph.scan(network, recipe=recipe, **options).document == again.document
    scan_json = tmp_path / "scan.json"
    scan_json.write_text(scan_json.read_text().replace(crop["map_sha256"], "0" * 64), encoding="utf-8")
    assert "The crop of that map" not in Path(ph.report(tmp_path)).read_text(encoding="utf-8")  # that of another map


def test_a_network_that_cannot_be_mapped_has_a_verdict(tmp_path):
    with pytest.warns(PhospheneWarning, match="the suspects could not be mapped: .* gives a spatial activation"):
        found = scan(out=tmp_path, mapped=True)
    assert (found.verdict, len(found.suspects)) == ("backdoored", 1)
    assert "map_crop" not in found.document["suspects"][0]


def test_crops_are_not_written_into_another_scan(written, folder, tmp_path):
    run = ph.open_run(shutil.copytree(folder, tmp_path / "run"))
    request = {
        name: written.document[name] for name in ("model", "samples", "references", "alpha", "settings", "method")
    }
    with pytest.raises(RunError, match="does not hold this scan any more"):
        add_map_crops(run, {**request, "method": "another"}, {hand.TARGET: {}})
    (run.path / "scan.json").unlink()
    with pytest.raises(RunError, match="does not hold this scan any more"):
        add_map_crops(run, request, {hand.TARGET: {}})
    assert not (run.path / "scan.json").exists()


@pytest.mark.parametrize("box", [[9, 9, 3, 3], [0, 0, 2**40, 2**40], [-1, 0, 4, 4]])
def test_a_box_outside_of_the_images_is_refused(changed, box):
    with pytest.raises(RunError, match=r"a box, .*, does not lie in its images"):
        changed(lambda scan: scan["suspects"][0].update(box=box))


def test_the_command_maps_by_the_recipe_that_python_does():
    (option,) = (one for one in command.params if one.name == "recipe")
    assert option.default == RECIPE


def test_a_stored_verdict_is_not_shown_with_other_labels_even_of_a_class_that_was_not_measured(tmp_path):
    names = [f"class {k}" for k in range(70)]
    options = {
        "samples": hand.pool(),
        "device": "cpu",
        "range_check": False,
        "progress": False,
        "out": tmp_path / "run",
    }
    found = ph.scan(hand.classifier(classes=70, labels=names), **options)
    left_out = min({*range(70)} - {one.index for one in found.classes})
    names[left_out] = "renamed"
    with pytest.raises(RunError, match=rf"other labels \({left_out} was 'class {left_out}' and is 'renamed'\)"):
        ph.scan(hand.classifier(classes=70, labels=names), **options)


def test_copies_of_a_reference_count_once():
    reference = [hand.classifier(seed=seed, name=f"net {seed} {copy}") for seed in (5, 6) for copy in "abc"]
    with pytest.warns(
        PhospheneWarning, match="4 references not counted: copies of other references, with the same weights"
    ):
        found = scan(reference=reference)
    assert found.null.endswith("and 2 given as references")
    assert found.p_value == scan(reference=reference[::3]).p_value


def test_a_scan_of_another_input_is_refused_and_names_it(folder, written):
    with pytest.raises(RunError, match=r"another model \(hand-made, mean \[0.0.*; this one is hand-made, mean \[0.5"):
        ph.scan(
            hand.classifier(40.0, mean=(0.5,) * 3), samples=hand.pool(), out=folder, range_check=False, progress=False
        )


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = [scan(dry_run=True, out=out).to_dict() for out in (None, False, True, "mine")]
    assert [one["run"] for one in facts] == [None, None, "runs/hand-made-scan", "mine"]
    assert all(one["passes"] > 0 and one["seconds"] >= 0 and not one["done"] for one in facts)
    assert list(tmp_path.iterdir()) == []


def test_a_scan_of_an_earlier_version_opens_without_what_it_lacks(changed):
    def change(document):
        del document["null"]["figures"], document["all_to_all"]["trigger"]
        document["null"]["limit"] = None

    opened = changed(change)
    assert (opened.null_figures, opened.all_to_all, opened.limit) == ((), None, float("inf"))
    assert opened.suspects[0].works


def test_a_window_of_all_to_all_keeps_its_figure_if_a_class_was_not_measured(changed, written):
    opened = changed(lambda document: document["all_to_all"]["classes"][0].update(source="elsewhere"))
    assert opened.all_to_all.figure == written.all_to_all.figure
    assert len(opened.all_to_all.targets) == len(written.all_to_all.targets) - 1


def test_a_damaged_trigger_is_refused_in_a_line(written, folder):
    file = folder / written.document["suspects"][0]["trigger"]
    data = file.read_bytes()
    for damage in (
        lambda: file.write_bytes(b"no tensors"),
        lambda: save_file({"mask": torch.ones(1, 3, 3)}, file),
        lambda: save_file({"mask": torch.ones(1, 3, 3), "paint": torch.ones(3, 4, 4)}, file),
    ):
        damage()
        for read in (ph.open_scan, ph.report):
            with pytest.raises(RunError, match=r"trigger\.safetensors is damaged \(.*: Delete .*scan\.json") as error:
                read(folder)
            assert "\n" not in str(error.value)
    file.write_bytes(data)
    assert ph.open_scan(folder).verdict == "backdoored"


def test_a_candidate_is_shown_by_its_window_alone_and_enlarged(written):
    candidate = written.suspects[0].candidate
    top, left, bottom, right = candidate.box
    small, large = candidate_image(candidate).crop((left, top, right, bottom)), close_up(candidate)
    assert large.width >= 96 > small.width
    assert large.resize(small.size, Image.Resampling.NEAREST) == small
