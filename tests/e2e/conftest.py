"""Fixtures for hostile input: a refusal in one line that leaves nothing behind, or a run that is whole."""

import resource
import signal

import pytest

from tests.files import contents
from tests.tiny import SETTINGS

SECONDS = 120
MEGABYTES = 1500  # Pillow itself takes up to 716 for 179 million pixels; the bombs here would take 14,000


@pytest.fixture
def limited():
    """End a hang, and fail on memory taken: sizes in headers are checked first."""

    def late(*_):
        pytest.fail(f"still busy after {SECONDS} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


@pytest.fixture
def hostile(call, card, tmp_path, monkeypatch, limited):
    """Map class 0 of the card; return the one line of the refusal, having seen that nothing was written or run."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def hostile(*words, trust=True, spec=None):
        before = contents(tmp_path)
        answer = call("map", spec or card.path, *["--trust"] * trust, "-c", 0, *SETTINGS, *words)
        line = answer.complaint
        assert contents(tmp_path) == before
        assert line.isprintable()
        assert len(line) < 2000
        if not trust:
            assert not card.mark.exists()
        return line

    return hostile


@pytest.fixture
def odd(call, card, tmp_path, monkeypatch, limited):
    """Map class 0 of a card that is merely odd; return the run's folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def odd(*words):
        before = set(contents(tmp_path))
        answer = call("map", card.path, "--trust", "-c", 0, *SETTINGS, *words)
        assert answer.code == 0, answer.err
        clean = (answer.out + answer.err).replace("\n", "")
        assert clean.isprintable(), "the terminal obeys what a file says"
        assert not [line for line in answer.err.splitlines() if line.startswith("phosphene: all is well")]
        new = set(contents(tmp_path)) - before
        (run,) = (work / "runs").iterdir()
        assert all(path.is_relative_to(work / "runs") for path in new)
        page = (run / "report.html").read_text(encoding="utf-8")
        assert page.count("<script") == 1  # ours
        assert "\x1b" not in page
        return run

    return odd


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for the runs that the tests of a module share."""
    return tmp_path_factory.mktemp("runs")
