"""scores.json: rows of the same target are replaced, others kept, and rows of maps that have changed go."""

import errno
import json
import os

import pytest
import torch

from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.runs import RunDirectory
from phosphene.runs.scores import read_scores, write_scores
from tests import tiny


@pytest.fixture
def run(tmp_path):
    made = RunDirectory(tmp_path / "run")
    tiny.add_maps(made, tiny.concept_map(0), tiny.concept_map(3))
    return made


def row(run, target="a", value=0.5, **changes):
    facts = {"target": target, "target_sha256": f"hash of {target}", "maps_sha256": run.maps_sha256(), "m_score": value}
    return facts | changes


def kept(run):
    return [(one["target"], one["m_score"]) for one in read_scores(run)]


def test_no_scores_yet(run):
    assert read_scores(run) == []


def test_rows_of_the_same_target_are_replaced_and_others_kept(run):
    write_scores(run, [row(run, "a", 0.1), row(run, "b", 0.2)])
    write_scores(run, [row(run, "a", 0.3), row(run, "c", 0.4)])
    assert sorted(kept(run)) == [("a", 0.3), ("b", 0.2), ("c", 0.4)]
    write_scores(run, [row(run, "b", 0.5, target_sha256="trained again")])
    assert sorted(kept(run)) == [("a", 0.3), ("b", 0.2), ("b", 0.5), ("c", 0.4)]
    data = json.loads((run.path / "scores.json").read_text(encoding="utf-8"))
    assert data["schema"] == 1
    assert set(data["versions"]) == {"phosphene", "torch", "python"}


def test_rows_of_maps_that_have_changed_are_not_read_and_go_with_the_next_writing(run):
    write_scores(run, [row(run, "a")])
    tiny.add_maps(run, tiny.concept_map(4))
    assert read_scores(run) == []
    write_scores(run, [row(run, "b")])
    assert kept(run) == [("b", 0.5)]
    assert len(json.loads((run.path / "scores.json").read_text(encoding="utf-8"))["rows"]) == 1


def test_the_hash_speaks_of_the_maps_alone(run, tmp_path):
    before = run.maps_sha256()
    (run.path / "report.html").write_text("a page", encoding="utf-8")
    assert run.maps_sha256() == before
    twin = RunDirectory(tmp_path / "twin")
    tiny.add_maps(twin, tiny.concept_map(0), tiny.concept_map(3))
    assert twin.maps_sha256() == before
    other = RunDirectory(tmp_path / "other")
    tiny.add_maps(other, tiny.concept_map(0), tiny.concept_map(3, nu=torch.ones(3, 16, 16)))
    assert other.maps_sha256() != before
    (run.folder(Job(3), tiny.LABELS[3]) / "map.json").unlink()
    assert run.maps_sha256() != before


def test_maps_that_change_while_they_are_scored(run):
    rows = [row(run, "a")]
    tiny.add_maps(run, tiny.concept_map(4))
    with pytest.raises(RunError, match="changed while they were scored"):
        write_scores(run, rows)
    assert not (run.path / "scores.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is damaged"),
        ('{"schema": 1, "ro', "is damaged"),
        ("[]", "no scores of this version"),
        ('{"schema": 2, "rows": []}', "no scores of this version"),
        ('{"schema": 1, "rows": 3}', "it lacks rows"),
        ('{"schema": 1, "rows": {"target": "a"}}', "it lacks rows"),
        ('{"schema": 1, "rows": [3]}', "it lacks rows.0"),
        ('{"schema": 1, "rows": [{"target": "a"}]}', "it lacks rows.0.target_sha256"),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(run, text, says):
    path = run.path / "scores.json"
    path.write_text(text, encoding="utf-8")
    for act in (lambda: read_scores(run), lambda: write_scores(run, [row(run)])):
        with pytest.raises(RunError, match=says) as caught:
            act()
        assert "Delete it and score again." in str(caught.value)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["", "3", "{}", '{"map_sha256": 3}'])
def test_a_damaged_note_of_a_map(run, text):
    (run.folder(Job(3), tiny.LABELS[3]) / "map.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"map.json is damaged.*Run the map again"):
        run.maps_sha256()


def test_a_full_disk_leaves_the_old_rows(run, monkeypatch):
    write_scores(run, [row(run, "a")])

    def flush(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", flush)
    with pytest.raises(RunError, match=r"disk is full while writing .*scores.json"):
        write_scores(run, [row(run, "b")])
    assert kept(run) == [("a", 0.5)]
    assert not list(run.path.glob(".*.part"))
