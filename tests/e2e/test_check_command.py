"""`phosphene check`, as a user calls it: what it prints and writes, going on where it stopped, and what it refuses."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

import phosphene
from phosphene.checks import CHECKS
from phosphene.checks.finding import FEWEST
from tests import tiny
from tests.files import contents
from tests.tiny import SETTINGS

NAMES = list(CHECKS)
FREE = ["--only", "fidelity", "--only", "permuted-labels"]


@pytest.fixture
def made(call, card, sample_folder, tmp_path):
    """A finished run of three classes from a folder of pictures."""
    out = tmp_path / "run"
    words = [word for index in (0, 2, 4) for word in ("-c", index)]
    answer = call(
        "map", card.path, "--trust", *words, *SETTINGS, "--samples", sample_folder, "--device", "cpu", "--out", out
    )
    assert answer.code == 0, answer.err
    return out


@pytest.fixture
def check(call, made):
    def check(*words, run=None, trust=("--trust",)):
        return call("check", run or made, *trust, "--most", 2, "--device", "cpu", *words)

    return check


@pytest.fixture
def refused(check, made, tmp_path):
    """The one line that refuses a check; nothing may be written."""

    def refused(*words, **keys):
        before = contents(tmp_path)
        line = check(*words, **keys).complaint
        assert contents(tmp_path) == before
        return line

    return refused


def noted(run):
    return json.loads((run / "checks.json").read_text(encoding="utf-8"))


def rewrite(path, change):
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


# --- what it does


def test_every_check_is_run_printed_and_written(check, made):
    answer = check()
    assert answer.code == 0, answer.err
    for name in NAMES:
        assert name in answer.out
        assert f"{name}: " in answer.err
    assert str(made / "checks.json") in answer.out
    assert (
        "passed" in answer.out or "FAILED" in answer.out or "undecided" in answer.out or "too few to tell" in answer.out
    )
    note = noted(made)
    assert note["schema"] == 1
    assert len(note["maps_sha256"]) == 64
    assert note["versions"]["phosphene"] == phosphene.__version__
    assert list(note["checks"]) == NAMES
    for name, entry in note["checks"].items():
        assert entry["name"] == name
        assert set(entry) == {"name", "figures", "passed", "reading", "cost", "subject"}
        assert [one["index"] for one in entry["subject"]["concepts"]] == [0, 4]
        assert entry["subject"]["samples"]["spec"].endswith("samples")
        assert " ".join(entry["reading"].split()[:8]) in answer.out


def test_a_failed_check_is_said_plainly_and_the_command_has_done_its_job(check, made, monkeypatch):
    from phosphene.checks.finding import Finding

    failed = Finding("seeds", {}, passed=False, explanation="It depends on the seed.")
    monkeypatch.setitem(CHECKS, "seeds", dataclasses.replace(CHECKS["seeds"], find=lambda _: failed))
    answer = check("--only", "seeds")
    assert answer.code == 0
    assert "FAILED" in answer.out
    assert "It depends on the seed." in answer.out
    assert "seeds: FAILED" in answer.err
    strict = check("--only", "seeds", "--strict")
    assert (strict.code, strict.err.splitlines()[-1]) == (4, "phosphene: fell short: seeds: FAILED.")
    assert check("--only", "fidelity", "--strict").code == 0


def test_json_is_one_document_and_only_chooses(check, made):
    answer = check("--json", "--only", "seeds", "--only", "fidelity")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert [row["name"] for row in document["findings"]] == ["fidelity", "seeds"]
    assert document["run"] == str(made)
    for row in document["findings"]:
        assert row["verdict"] in ("passed", "FAILED", "figures only", "undecided", "too few to tell")
        assert {"figures", "passed", "reading", "cost"} <= set(row)
    assert list(noted(made)["checks"]) == ["fidelity", "seeds"]
    assert (document["concepts"], document["concepts_chosen"]) == (3, ["lion", "maillot"])
    page = re.sub(r"\s+", " ", (made / "report.html").read_text(encoding="utf-8"))
    assert "Sanity checks of 2 of 3 concepts: " in page
    assert page.count("concepts chosen, 2 of 3 (--most): lion, maillot") == 2
    assert "Maps of 2 of 3 concepts were chosen (option most, up to 3): lion, maillot." in check("--only", "seeds").out
    assert "were chosen" not in check("--only", "seeds", "--most", 3).out


def test_dry_run_says_what_it_would_cost_and_writes_nothing(check, made, tmp_path):
    before = contents(tmp_path)
    document = json.loads(check("--dry-run", "--json").out)
    # 3 blocks: 3 depths of 2 classes, 2 other seeds, 2 synthetic sets of 2 classes
    assert {row["name"]: row["maps"] for row in document["checks"]} == {
        "fidelity": 0,
        "permuted-labels": 0,
        "cascade": 8,
        "random-weights": 0,
        "seeds": 0,
        "diversity": 0,
        "samples": 4,
    }
    assert document["maps"] == 12
    assert document["passes"] == 12 * (3 * 4 * 2 + 2 * 4 + 2 * 4 * 2)
    assert 0 < document["seconds"] < 600
    assert not any(row["done"] for row in document["checks"])
    said = check("--dry-run").out
    assert "cascade" in said
    assert re.search(r"12 maps, 576 passes, about \d+ s to make them", said)
    assert contents(tmp_path) == before
    assert check().code == 0
    assert sum(entry["cost"] for entry in noted(made)["checks"].values()) == 12
    after = json.loads(check("--dry-run", "--json").out)
    assert (after["maps"], after["seconds"]) == (0, 0)
    assert "about" not in check("--dry-run").out
    assert all(row["done"] for row in after["checks"])


def test_too_few_classes_for_a_verdict_are_named_before_anything_is_made(check, call, made, card, sample_folder):
    line = (
        f"at least {FEWEST} classes are needed for a verdict, and this run has 3, so that checks will say "
        f"'too few to tell': map at least {FEWEST} classes."
    )
    assert json.loads(check("--dry-run", "--json").out)["warnings"] == [line]
    assert f"phosphene: {line}" in check("--dry-run").err.splitlines()
    answer = check("--only", "seeds", "--json")
    assert answer.err.index(line) < answer.err.index("map 1 of 2")
    document = json.loads(answer.out)
    assert line in document["warnings"]
    assert [row["verdict"] for row in document["findings"]] == ["too few to tell"]
    assert line not in check("--dry-run", "--only", "fidelity").err  # this one has no rule
    assert "fewer than four classes can neither pass nor fail" in " ".join(call("check", "--help").out.split())
    words = [*("-c", 0, "-c", 2, "-c", 3, "-c", 4), *SETTINGS, "--samples", sample_folder, "--out", made]
    assert call("map", card.path, "--trust", *words).code == 0
    assert json.loads(check("--dry-run", "--json", "--most", 4).out)["warnings"] == []
    line = line.replace("this run has 3", "2 were chosen").replace(
        "map at least 4 classes", "choose more, by the option most"
    )
    assert json.loads(check("--dry-run", "--json", "--most", 2).out)["warnings"] == [line]


def counted(monkeypatch):
    """Count the maps that are made."""
    from phosphene.checks.context import CheckContext

    jobs, make = [], CheckContext.make

    def counting(self, requests):
        before = set(self.made)
        make(self, requests)
        jobs.extend(set(self.made) - before)

    monkeypatch.setattr(CheckContext, "make", counting)
    return jobs


def test_an_interruption_keeps_what_is_finished_and_the_same_command_goes_on(check, made, monkeypatch):
    def interrupt(context):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(CHECKS, "seeds", dataclasses.replace(CHECKS["seeds"], find=interrupt))
        answer = check()
    assert answer.code == 130
    assert answer.out == ""
    assert "interrupted; the same command goes on with what is finished." in answer.err
    kept = noted(made)["checks"]
    assert list(kept) == ["fidelity", "permuted-labels", "cascade", "random-weights"]
    assert not list(made.rglob("*.part"))

    jobs = counted(monkeypatch)
    answer = check("--json")
    assert answer.code == 0, answer.err
    assert [row["name"] for row in json.loads(answer.out)["findings"]] == NAMES
    after = noted(made)["checks"]
    assert all(after[name] == kept[name] for name in kept)
    assert len(jobs) == 2 + 4  # other seeds and other samples; none of the cascade's

    jobs.clear()
    again = check("--json")
    assert json.loads(again.out) == json.loads(answer.out)
    assert jobs == []
    assert not re.search(r"map \d", again.err)
    assert re.search(r"\n(\d+) of \1 findings cached", check().out)


def test_findings_of_other_maps_concepts_or_samples_do_not_count(check, call, made, card, sample_folder, monkeypatch):
    assert check("--only", "seeds", "--only", "fidelity").code == 0
    jobs = counted(monkeypatch)
    assert check("--only", "seeds").code == 0
    assert jobs == []
    assert call("check", made, "--trust", "--most", 1, "--only", "seeds").code == 0
    assert len(jobs) == 1  # another number of concepts: made again, in the place of the old
    assert check("--only", "seeds", "--samples", "synthetic:pink").code == 0
    assert len(jobs) == 3
    entries = noted(made)["checks"]
    assert entries["seeds"]["subject"]["samples"]["spec"] == "synthetic:pink"
    assert entries["fidelity"]["subject"]["samples"]["spec"].endswith("samples")  # still true of these maps
    words = ["-c", 0, "-c", 2, "-c", 3, "-c", 4, *SETTINGS, "--samples", sample_folder, "--out", made]
    assert call("map", card.path, "--trust", *words).code == 0
    assert check("--only", "fidelity").code == 0
    assert list(noted(made)["checks"]) == ["fidelity"]  # the maps are others now


def test_samples_of_ones_own_join_the_samples_check(check, made, tmp_path):
    other = tiny.make_samples(tmp_path / "photographs", 8, size=(30, 22))
    answer = check("--only", "samples", "--only", "cascade", "--samples", other, "--json")
    assert answer.code == 0, answer.err
    cascade, samples = json.loads(answer.out)["findings"]
    assert f"hog_at_{other}" in samples["figures"]
    assert "hog_at_0" in cascade["figures"]


def test_the_report_is_written_again(check, made):
    (made / "report.html").unlink()
    assert check(*FREE).code == 0
    assert (made / "report.html").exists()


def test_progress_goes_to_stderr_with_an_end_in_sight(check, made):
    answer = check("--only", "seeds", "--json")
    json.loads(answer.out)
    assert "map 1 of 2" in answer.err
    assert "s left" in answer.err


# --- what it refuses


def test_what_is_no_run(refused, tmp_path, card):
    assert "is not a run directory" in refused(run=card.folder)
    assert "is not a run directory" in refused(run=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_unfinished_run_and_a_damaged_map(refused, made):
    one = min(made.glob("maps/*/*/map.json"))
    text = one.read_text(encoding="utf-8")
    one.unlink()
    assert "1 of 3 maps" in refused()
    assert "give its `phosphene map` command once more" in refused()
    one.write_text(text, encoding="utf-8")
    tensors = one.parent / "map.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-8])
    assert "map.safetensors is damaged" in refused()


def test_a_run_without_maps_such_as_that_of_a_scan(refused, made):
    facts = json.loads((made / "run.json").read_text(encoding="utf-8"))
    (made / "run.json").write_text(json.dumps(facts | {"jobs": []}), encoding="utf-8")
    assert f"{made} has no maps: run `phosphene map` first" in refused()


def test_a_damaged_run_json(refused, made):
    (made / "run.json").write_text("{", encoding="utf-8")
    assert "run.json is damaged" in refused()


def test_weights_that_have_changed(refused, made, card):
    card.weigh(tiny.network(seed=5).state_dict())
    line = refused()
    assert "has other weights" in line
    assert "than the network that made the maps of" in line


def test_labels_that_have_changed(refused, made, card, call):
    """Neither command may judge maps of lions as maps of cranes."""
    (card.folder / "labels.txt").write_text("\n".join(reversed(tiny.LABELS)), encoding="utf-8")
    says = f"{made} was made with other labels (0 was '{tiny.LABELS[0]}' and is '{tiny.LABELS[4]}'): bring those back"
    assert says in refused()
    assert says in call("score", made, "--trust").complaint


def test_a_model_that_is_gone_and_one_that_needs_trust(refused, made, card):
    assert "--trust" in refused(trust=())
    card.path.unlink()
    assert "tiny.toml does not exist" in refused()


def test_a_run_is_judged_from_another_folder(call, card, sample_folder, tmp_path, monkeypatch):
    """run.json holds the model's path as it was typed, so that a run can be moved and published."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(card.folder)
    words = ["-c", 0, "--trust", *SETTINGS, "--samples", sample_folder, "--device", "cpu"]
    assert call("map", card.path.name, *words, "--out", "../run").code == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    says = r"tiny\.toml does not exist.* If \.\./run was mapped from another folder, .*name the model \({}, or \w+= in Python\)\."
    named = card.path.relative_to(tmp_path)
    for words, option in ((["check", "../run", *FREE], "--model"), (["score", "../run"], "--target")):
        assert re.search(says.format(option), call(*words, "--trust").complaint)
        answer = call(*words, "--trust", option, f"../{named}")
        assert answer.code == 0, answer.err
    assert "does not exist" in call("check", "../run", "--model", "none.toml").complaint


def test_samples_that_are_gone_or_have_changed(refused, check, sample_folder):
    first = min(sample_folder.iterdir())
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(first)
    assert "have changed since the run: choose others (--samples, or samples=" in refused()
    for path in sample_folder.iterdir():
        path.unlink()
    line = refused()
    assert "cannot be had again, choose others (--samples, or samples=" in line
    assert "holds no image files" in line
    sample_folder.rmdir()
    assert "do not exist" in refused()
    assert check("--samples", "synthetic:mixed", *FREE).code == 0


def test_samples_that_do_not_exist(refused):
    assert "Did you mean pink?" in refused("--samples", "synthetic:pnik")


def test_a_check_that_does_not_exist(refused):
    assert "no check is called 'cascad'. Did you mean cascade?" in refused("--only", "cascad")
    assert "Checks: fidelity, permuted-labels" in refused("--only", "zzz")


def test_numbers_and_devices_that_make_no_sense(refused):
    assert "--most" in refused("--most", 0)
    assert "device" in refused("--device", "tpu")


def test_without_scikit_image(refused, check, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    for part in ("feature", "metrics"):
        monkeypatch.delitem(sys.modules, f"skimage.{part}", raising=False)
    assert "pip install 'phosphene[checks]'" in refused()
    assert check(*FREE).code == 0  # these compare nothing


def test_a_recipe_of_another_version_and_one_that_was_changed_by_hand(refused, check, made):
    rewrite(made / "run.json", lambda data: data["recipe"].update(telepathy=1.0))
    assert "a recipe that this version does not have: recipe has no field 'telepathy'" in refused()
    rewrite(made / "run.json", lambda data: data["recipe"].pop("telepathy"))
    rewrite(made / "run.json", lambda data: data["recipe"].update(steps=4))
    assert "its recipe has another hash" in refused()
    rewrite(made / "run.json", lambda data: data["recipe"].update(steps=3))
    rewrite(made / "run.json", lambda data: data["recipe"].pop("step_decay"))  # before that field was there
    assert check(*FREE).code == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.update(schema=99),
        lambda data: data.update(checks=[]),
        lambda data: data["checks"]["fidelity"].pop("reading"),
        lambda data: data["checks"]["fidelity"].update(passed="yes"),
        lambda data: data["checks"]["fidelity"].update(figures={"hog": "much"}),
        lambda data: data["checks"].update(fidelity=None),
    ],
)
def test_a_damaged_checks_json(refused, check, made, damage):
    assert check("--only", "fidelity").code == 0
    rewrite(made / "checks.json", damage)
    line = refused()
    assert "checks.json" in line
    assert "Delete it and check again" in line


def test_maps_that_change_while_they_are_checked(check, made, monkeypatch):
    seeds = CHECKS["seeds"]

    def meddling(context):
        rewrite(min(made.glob("maps/*/*/map.json")), lambda data: data.update(map_sha256="0" * 64))
        return seeds.find(context)

    monkeypatch.setitem(CHECKS, "seeds", dataclasses.replace(seeds, find=meddling))
    answer = check("--only", "seeds")
    assert (answer.code, answer.out) == (2, "")
    assert "changed while they were checked" in answer.err.splitlines()[-1]
    assert not (made / "checks.json").exists()
