"""Fixtures that every test may use: the shared folder, a tiny classifier on disk, samples, the command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores: one thread each, and each of their children
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# On a busy machine a start takes longer than the time between two lines of progress, and tests expect none.
os.environ.setdefault("PHOSPHENE_PROGRESS_SECONDS", "600")

from phosphene.cli import entry
from tests import tiny

ROOT = Path(__file__).parent.parent
# Seconds to wait for another process or a browser. None of them takes long; a busy machine makes them wait.
PATIENCE = float(os.environ.get("PHOSPHENE_PATIENCE", "240"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real networks and images: skipped where it is missing, failed in CI."""
    return shared_folder()


def shared_folder() -> Path:
    """Find the shared folder; skip the test that asks for it where it is missing, and fail it in CI."""
    folder = Path(os.environ.get("PHOSPHENE_SHARED") or ROOT.parent / "shared")
    if not (folder / "zoo").is_dir():
        if os.environ.get("PHOSPHENE_NO_SHARED"):  # a public CI cannot have it, and its log says so
            pytest.skip("PHOSPHENE_NO_SHARED is set: the tests that need the shared networks are left out")
        missing(f"{folder} with zoo/ and data/ is missing: set PHOSPHENE_SHARED")
    return folder


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What torch.compile needs on a CPU, and an empty cache: torch mixes kernels up that were cached for other CPUs."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    if shutil.which("g++") is None:
        missing("g++ is missing: install it, torch.compile needs it on a CPU")


def missing(message: str) -> NoReturn:
    """Skip the test for want of something, and fail it in CI, which has it."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def card(tmp_path: Path) -> tiny.Card:
    """The card of a tiny classifier with single-precision weights; its factory needs trust."""
    return tiny.make_card(tmp_path / "card")


@pytest.fixture
def half_card(tmp_path: Path) -> tiny.Card:
    """The same with half-precision weights."""
    return tiny.make_card(tmp_path / "half", half=True)


@pytest.fixture
def sample_folder(tmp_path: Path) -> Path:
    """A folder of twelve small samples."""
    return tiny.make_samples(tmp_path / "samples")


@dataclass(frozen=True)
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line in which a failed command names its reason; anything else fails the test."""
        line = self.complaint_after_progress
        assert self.err.splitlines() == [line]
        return line

    @property
    def complaint_after_progress(self) -> str:
        """The same where the work had begun: progress may stand before the last line."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        assert "Traceback" not in self.err
        line = self.err.splitlines()[-1]
        assert [one for one in self.err.splitlines() if one.startswith("phosphene: ")] == [line]
        assert "unexpected" not in line
        return line


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call the command line's entry point in this process: the installed command without its two seconds of imports."""

    def call(*words: Any) -> Answer:
        monkeypatch.setattr(sys, "argv", ["phosphene", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            entry()
        return Answer(int(stop.value.code or 0), *capfd.readouterr())

    return call


def command(*words: Any) -> list[str]:
    """The words of a command line for a process of its own."""
    return [sys.executable, "-m", "phosphene", *map(str, words)]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Answer]:
    """Run the command in a process of its own, in an empty folder."""

    def run(*words: Any, **options: Any) -> Answer:
        options = {"cwd": tmp_path, "timeout": PATIENCE} | options
        done = subprocess.run(command(*words), capture_output=True, text=True, check=False, **options)
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
