"""Where tests look for real networks, and that CI does not pass by skipping them."""

import pytest

from tests.conftest import ROOT, shared_folder


def test_the_variable_comes_first_and_the_neighbour_second(tmp_path, monkeypatch):
    (tmp_path / "elsewhere" / "zoo").mkdir(parents=True)
    (tmp_path / "shared" / "zoo").mkdir(parents=True)
    monkeypatch.setattr("tests.conftest.ROOT", tmp_path / ROOT.name)
    monkeypatch.setenv("PHOSPHENE_SHARED", str(tmp_path / "elsewhere"))
    assert shared_folder() == tmp_path / "elsewhere"
    monkeypatch.delenv("PHOSPHENE_SHARED")
    assert shared_folder() == tmp_path / "shared"


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_folder_is_skipped_and_failed_in_ci(tmp_path, monkeypatch, ci, outcome):
    monkeypatch.setenv("PHOSPHENE_SHARED", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    monkeypatch.delenv("PHOSPHENE_NO_SHARED", raising=False)
    with pytest.raises(outcome, match="PHOSPHENE_SHARED"):
        shared_folder()


def test_a_ci_that_cannot_have_the_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PHOSPHENE_SHARED", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PHOSPHENE_NO_SHARED", "1")
    with pytest.raises(pytest.skip.Exception, match="PHOSPHENE_NO_SHARED"):
        shared_folder()
