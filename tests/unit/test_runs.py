"""The run directory: whole files or none, the same run or a refusal, and every map found again."""

import contextlib
import errno
import json
import os
import stat
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from phosphene.arguments import to_concepts
from phosphene.concept_map import ConceptMap, Job
from phosphene.errors import RunError
from phosphene.labels import Labels
from phosphene.recipe import Recipe
from phosphene.reports.made import made_section
from phosphene.runs import RunDirectory, atomic, run_facts
from phosphene.runs.folders import whole_folder
from phosphene.runs.lock import hold
from phosphene.runs.map_json import read_map_json
from phosphene.runs.paths import slug
from phosphene.samples.pool import make_pool
from tests import tiny, web


def pool(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return make_pool(torch.randint(0, 256, (5, 3, 16, 16), generator=generator).to(torch.uint8), f"pool {seed}")


def facts(classifier=None, recipe=None, samples=None, device="cpu"):
    return run_facts(classifier or tiny.classifier(), recipe or Recipe(), samples or pool(), device, "fp32")


JOBS = [(Job(0, 0), tiny.LABELS[0]), (Job(4, 1), tiny.LABELS[4])]


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.begin(facts(), JOBS)
    return run


def listing(folder):
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- single files


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_and_folders_are_readable_by_whom_the_umask_allows(tmp_path, umask):
    atomic.write_bytes(tmp_path / "new" / "file", b"data")
    with whole_folder(tmp_path / "site", ["index.html"], "a site") as folder:
        atomic.write_bytes(folder / "index.html", b"data")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("[a-z]*")}
    assert modes == {
        **dict.fromkeys(("new", "site"), 0o777 & ~umask),
        **dict.fromkeys(("file", "index.html"), 0o666 & ~umask),
    }


def test_a_file_is_written_whole(tmp_path):
    atomic.write_bytes(tmp_path / "new" / "folder" / "file", b"data")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"data"
    atomic.write_bytes(tmp_path / "new" / "folder" / "file", b"other")
    assert listing(tmp_path) == {os.path.join("new", "folder", "file"): b"other"}  # noqa: PTH118


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_write_that_fails_leaves_nothing_behind_and_the_old_file_as_it_was(tmp_path, monkeypatch, function, number):
    (tmp_path / "old").write_bytes(b"old")

    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)
    says = "disk is full" if number != errno.EIO else "Input/output error"
    for name in ("old", "new"):
        with pytest.raises(RunError, match=says) as error:
            atomic.write_bytes(tmp_path / name, b"new")
        assert str(tmp_path / name) in str(error.value)
    monkeypatch.undo()
    assert listing(tmp_path) == {"old": b"old"}


def test_an_interruption_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "file", b"data")
    monkeypatch.undo()
    assert listing(tmp_path) == {}


def test_data_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("rename"), replace(*names)))
    atomic.write_bytes(tmp_path / "file", b"data")
    assert order[:2] == ["sync", "rename"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written.*another path"):
        atomic.write_bytes(tmp_path / "file" / "below", b"data")


def test_json_is_readable_text_and_never_nan(tmp_path):
    atomic.write_json(tmp_path / "a.json", {"label": "naïve"})
    assert "naïve" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert atomic.read_json(tmp_path / "a.json") == {"label": "naïve"}
    with pytest.raises(ValueError, match="Out of range"):
        atomic.write_json(tmp_path / "b.json", {"p": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(RunError, match=r"a\.json is damaged"):
        atomic.read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"none\.json does not exist"):
        atomic.read_json(tmp_path / "none.json")


def test_the_lock_keeps_a_second_one_waiting(tmp_path):
    order = []

    def second():
        with hold(tmp_path):
            order.append("second")

    with hold(tmp_path):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.05)
        order.append("first")
    other.join(5)
    assert order == ["first", "second"]


# --- run.json


def test_run_json_holds_what_the_design_says(run):
    data = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert set(data) == {"schema", "model", "recipe", "samples", "versions", "device", "precision", "jobs"}
    assert data["model"]["sha256"] == tiny.classifier().sha256
    assert data["model"]["input"] == {"size": [16, 16], "mean": [0.5] * 3, "std": [0.25] * 3}
    assert data["recipe"] == {**Recipe().to_dict(), "sha256": Recipe().sha256}
    assert data["samples"] == {"spec": "pool 0", "sha256": pool().sha256, "count": 4, "held_out": 1, "skipped": []}
    assert data["jobs"] == [
        {"index": 0, "label": tiny.LABELS[0], "seed": 0},
        {"index": 4, "label": tiny.LABELS[4], "seed": 1},
    ]
    assert run.facts() == data


def test_the_same_run_goes_on_and_takes_more_jobs(run):
    run.begin(facts(recipe=Recipe(name="other name"), device="cuda"), [(Job(1, 0), "crane"), JOBS[0]])
    assert [(row["index"], row["seed"]) for row in run.facts()["jobs"]] == [(0, 0), (1, 0), (4, 1)]


def test_a_run_takes_no_second_set_of_labels(run):
    """Labels are no part of a network's identity: a label file may be corrected between two commands."""
    before, names = listing(run.path), ["big cat", *tiny.LABELS[1:]]
    for labels in (Labels(names), Labels([*reversed(tiny.LABELS)]), Labels.numbered(5)):
        for job in (JOBS[0], (Job(2, 0), labels[2])):  # of a class that is there, and of another one
            with pytest.raises(
                RunError, match=rf"other labels \(0 was 'lion.*' and is '{labels[0]}'\): bring .*another directory"
            ):
                run.begin(facts(), [job], labels)
    assert listing(run.path) == before
    run.begin(facts(), [(Job(2, 0), tiny.LABELS[2])], Labels(tiny.LABELS))


def test_a_run_says_how_its_first_maps_were_made_and_later_maps_say_it_themselves(run):
    def way(facts):
        return facts["device"], facts["precision"]

    run.begin(facts(device="cuda"), JOBS)
    assert way(run.facts()) == ("cuda", "fp32")  # no map was made so far
    run.write(tiny.concept_map(0, device="cuda:0", precision="bf16"))
    begun = run.facts()
    with mock.patch("phosphene.runs.directory.versions", return_value={"phosphene": "9"}):
        run.begin(facts(device="cpu"), JOBS)  # which makes nothing
        assert run.facts() == begun
        run.begin(facts(device="cpu"), [*JOBS, (Job(1, 0), "crane")])
        run.write(tiny.concept_map(1, device="cpu", precision="fp32"))
    assert run.facts() | {"jobs": begun["jobs"]} == begun
    assert [(one.device, one.precision) for one in run.maps()] == [("cuda:0", "bf16"), ("cpu", "fp32")]
    assert [read_map_json(one)["versions"]["phosphene"] == "9" for one in run.finished_folders().values()] == [
        False,
        True,
    ]
    assert made_section(run, run.facts())["other_ways"] == [
        "1 map on cuda in bf16",
        "1 map on cpu in fp32 by phosphene 9",
    ]


@pytest.mark.parametrize("given", [["lion vs 4"], ["cats"], ["low:lion"]])
def test_all_kinds_of_concepts_keep_their_labels(tmp_path, given):
    kind = "regression" if given == ["low:lion"] else "auto"
    groups = {"cats": [0, 1]} if given == ["cats"] else None
    network = tiny.classifier(groups=groups, output=kind)
    (concept,) = to_concepts(given, network)
    run, same = RunDirectory(tmp_path / "run"), facts(network)
    run.begin(same, [(Job.of(concept), concept.label)], network.labels)
    run.check(same, network.labels)
    others = [Labels(["big cat", *tiny.LABELS[1:]], groups)]
    others += [Labels(tiny.LABELS, {"cats": [0, 1, 2]}), Labels(tiny.LABELS)] if groups else []
    for labels in others:
        with pytest.raises(RunError, match=r"made with other labels \((0 was 'lion|the groups in 'cats'\))"):
            run.check(same, labels)


def test_a_scan_keeps_the_labels_of_its_classes(run):
    web.write_scan(run, classes=(3,), suspects=[])
    run.check(facts(), Labels([*tiny.LABELS[:3], web.LABELS[3], tiny.LABELS[4]]))
    with pytest.raises(RunError, match=f"3 was '{web.LABELS[3]}' and is 'maillot'"):
        run.check(facts(), Labels(tiny.LABELS))


OTHERS = {
    "model": {"classifier": tiny.classifier(seed=1, name="another")},
    "recipe": {"recipe": Recipe(name="another", steps=3)},
    "samples": {"samples": pool(1)},
}


@pytest.mark.parametrize("what", list(OTHERS))
def test_another_model_recipe_or_set_of_samples_is_refused_and_changes_nothing(run, what):
    before = listing(run.path)
    with pytest.raises(RunError, match=rf"belongs to (an)?other {what} \(.*choose another run directory"):
        run.begin(facts(**OTHERS[what]), JOBS)
    assert listing(run.path) == before


def test_a_changed_input_is_named(run):
    other = facts(classifier=tiny.classifier(std=(0.5,) * 3))
    with pytest.raises(
        RunError, match=r"another model \(tiny, std \[0.25.*; this one is tiny, std \[0.5, 0.5, 0.5\]\)"
    ):
        run.begin(other, JOBS)


def test_a_run_that_another_process_began_meanwhile_is_refused(tmp_path, monkeypatch):
    """Both find an empty place; the second to get the lock must look again."""
    run = RunDirectory(tmp_path / "run")

    @contextlib.contextmanager
    def late(folder):
        monkeypatch.setattr("phosphene.runs.directory.hold", hold)
        RunDirectory(tmp_path / "run").begin(facts(**OTHERS["recipe"]), JOBS)
        with hold(folder):
            yield

    monkeypatch.setattr("phosphene.runs.directory.hold", late)
    with pytest.raises(RunError, match="belongs to another recipe"):
        run.begin(facts(), JOBS)
    assert run.facts()["recipe"]["name"] == "another"


def test_a_folder_of_other_files_and_a_file_are_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_bytes(b"years of work")
    with pytest.raises(RunError, match="holds files but is not a run directory"):
        RunDirectory(tmp_path / "mine").begin(facts(), JOBS)
    with pytest.raises(RunError, match="is a file, not a directory"):
        RunDirectory(tmp_path / "mine" / "thesis.txt").begin(facts(), JOBS)
    assert listing(tmp_path) == {os.path.join("mine", "thesis.txt"): b"years of work"}  # noqa: PTH118


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "run").mkdir()
    RunDirectory(tmp_path / "run").begin(facts(), JOBS)
    assert (tmp_path / "run" / "run.json").exists()


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"cannot be written.*another path"):
        RunDirectory(tmp_path / ("x" * 300)).begin(facts(), JOBS)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        "{}",
        '{"schema": 1}',
        '{"schema": 1, "model": 3, "recipe": 3, "samples": 3, "jobs": []}',
        '{"schema": 99}',
        '{"schema": 1, "model": {"sha256": 3}}',
    ],
)
def test_a_damaged_run_json_is_refused_by_name_by_writers_and_readers(run, data):
    (run.path / "run.json").write_text(data, encoding="utf-8")
    before = listing(run.path)
    with pytest.raises(RunError, match=r"run\.json|schema"):
        run.begin(facts(), JOBS)
    with pytest.raises(RunError, match=r"run\.json"):
        list(run.maps())
    assert listing(run.path) == before


@pytest.mark.parametrize("jobs", [None, 3, [{}], [{"index": "a", "seed": 0, "label": "x"}], [3]])
def test_damaged_jobs_are_refused_by_name(run, jobs):
    data = run.facts() | {"jobs": jobs}
    (run.path / "run.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RunError, match=r"run\.json"):
        run.begin(facts(), JOBS)
    with pytest.raises(RunError, match=r"run\.json"):
        list(run.maps())


def test_a_place_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        list(RunDirectory(tmp_path / "none").maps())


# --- maps


def test_a_map_is_written_where_the_design_says_and_read_back_bit_by_bit(run):
    one = tiny.concept_map(4, 1)
    run.write(one)
    folder = run.path / "maps" / "maillot-4" / "seed-1"
    assert sorted(path.name for path in folder.iterdir()) == ["map.json", "map.png", "map.safetensors"]
    back = run.read(folder)
    assert torch.equal(back.nu, one.nu)
    assert torch.equal(back.xi, one.xi)
    plain = set(ConceptMap.__dataclass_fields__) - {"nu", "xi"}
    assert (
        back.locations
        == one.locations
        == ((run.path, read_map_json(run.finished_folders()[one.index, one.seed])["map_sha256"]),)
    )
    assert {key: getattr(back, key) for key in plain} == {key: getattr(one, key) for key in plain}
    assert np.array_equal(np.asarray(Image.open(folder / "map.png")), np.asarray(one.image))


def test_maps_come_in_the_order_of_the_run_and_only_finished_ones(run):
    assert list(run.maps()) == []
    run.write(tiny.concept_map(4, 1))
    assert [one.index for one in run.maps()] == [4]
    run.write(tiny.concept_map(0, 0))
    assert [one.index for one in run.maps()] == [0, 4]
    assert list(run.finished_folders()) == [(0, 0), (4, 1)]


def test_a_map_without_a_rate_is_written_and_read(run):
    run.write(tiny.concept_map(0, targeting_rate=None))
    assert next(run.maps()).targeting_rate is None


def test_map_json_is_written_last(run, monkeypatch):
    """Its presence says that the map is finished, so a full disk in the middle must not leave it there."""
    replace, left = os.replace, [1]

    def full(*names):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*names)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"disk is full.*run the same command again"):
        run.write(tiny.concept_map(0))
    monkeypatch.undo()
    folder = run.folder(*JOBS[0])
    assert [path.name for path in folder.iterdir()] == ["map.safetensors"]
    assert list(run.maps()) == []
    run.write(tiny.concept_map(0))
    assert [one.index for one in run.maps()] == [0]


def spoil_tensors(folder):
    data = bytearray((folder / "map.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "map.safetensors").write_bytes(data)


def cut_tensors(folder):
    data = (folder / "map.safetensors").read_bytes()
    (folder / "map.safetensors").write_bytes(data[:100])


def lose_tensors(folder):
    (folder / "map.safetensors").unlink()


def cut_json(folder):
    (folder / "map.json").write_text('{"index": 0', encoding="utf-8")


def lose_a_fact(folder):
    data = json.loads((folder / "map.json").read_text(encoding="utf-8"))
    del data["passes"]
    (folder / "map.json").write_text(json.dumps(data), encoding="utf-8")


def no_object(folder):
    (folder / "map.json").write_text("[]", encoding="utf-8")


@pytest.mark.parametrize("spoil", [spoil_tensors, cut_tensors, lose_tensors, cut_json, lose_a_fact, no_object])
def test_a_damaged_map_is_named_and_can_be_made_again(run, spoil):
    run.write(tiny.concept_map(0))
    folder = run.folder(*JOBS[0])
    spoil(folder)
    with pytest.raises(RunError, match=r"maps/lion-0/seed-0.*damaged"):
        list(run.maps())
    run.write(tiny.concept_map(0))  # made again
    assert [one.index for one in run.maps()] == [0]


# --- names


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("lion, king of beasts, Panthera leo", "lion"),
        ("African elephant, Loxodonta africana", "african-elephant"),
        ("jack-o'-lantern", "jack-o-lantern"),
        ("Crème brûlée", "creme-brulee"),
        ("../../x", "x"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "class"),
        (".", "class"),
        ("", "class"),
        ("   ", "class"),
        (", second", "class"),
        ("🦁", "class"),
        ("🦁 lion", "lion"),
        ("狮子", "class"),
        ("a\0b\nc\\d", "a-b-c-d"),
        ("CON:", "con"),
        ("-rf", "rf"),
        ("%2e%2e%2f", "2e-2e-2f"),
    ],
)
def test_slugs_are_safe_names(label, name):
    assert slug(label) == name


def test_very_long_labels_make_short_names():
    assert slug("x" * 10_000) == "x" * 60


@pytest.mark.parametrize("label", ["../../x", "🦁", "", "/", "x" * 10_000, "a\0b", "..", "con\n"])
def test_maps_of_hostile_labels_stay_inside_the_run(tmp_path, label):
    run = RunDirectory(tmp_path / "deep" / "run")
    run.begin(facts(), [(Job(3, 0), label), (Job(2, 0), label)])
    for index in (3, 2):
        run.write(tiny.concept_map(index, label=label))
        folder = run.folder(Job(index), label)
        assert folder.parent.parent == run.path / "maps"
        assert folder.parent.name.endswith(f"-{index}")  # so classes of one label do not meet
        assert (folder / "map.json").exists()
    assert [(one.index, one.label) for one in run.maps()] == [(2, label), (3, label)]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in Path(tmp_path / "deep").iterdir()] == ["run"]


def test_of_the_runs_beside_a_missing_one_those_called_alike_are_first(tmp_path):
    for name in ("zebra", "trees", "apple", "tree-4", "moss"):
        tiny_run = tmp_path / name
        tiny_run.mkdir()
        (tiny_run / "run.json").touch()
    with pytest.raises(RunError, match=r"The runs beside it: trees, tree-4, apple, moss, zebra\.$"):
        RunDirectory(tmp_path / "tree").facts()
