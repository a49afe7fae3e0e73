"""``phosphene site``: several runs in, a page to open out; what cannot be is refused in one line."""

import json

import pytest

from tests.sites import make_run


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / "a"), make_run(tmp_path / "b", network=3, name="other")]


def test_a_site_is_written_and_written_again(call, runs, tmp_path):
    site = tmp_path / "site"
    answer = call("site", *(run.path for run in runs), "--out", site)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1].endswith(f"open {site / 'index.html'}")
    assert "Maps of 2 networks" in (site / "index.html").read_text(encoding="utf-8")
    answer = call("site", runs[0].path, "--out", site, "--json")
    assert json.loads(answer.out) == {"site": str(site / "index.html")}
    assert "Maps of tiny" in (site / "index.html").read_text(encoding="utf-8")


def test_what_cannot_be_a_site(call, runs, tmp_path):
    path = runs[0].path
    assert "is not a run directory" in call("site", tmp_path, "--out", tmp_path / "site").complaint
    assert "given twice" in call("site", path, path, "--out", tmp_path / "site").complaint
    assert "holds files but is not a site" in call("site", path, "--out", path).complaint
    assert "Missing argument 'RUN...'. Give phosphene site RUN..." in call("site", "--out", tmp_path / "site").complaint
    assert not (tmp_path / "site").exists()
