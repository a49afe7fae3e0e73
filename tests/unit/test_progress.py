"""The progress display: one bar on a terminal with whole lines above it, plain lines elsewhere, warnings kept."""

import io
import re
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from phosphene.errors import SpeedWarning
from phosphene.mapper import Step
from phosphene.progress import ProgressDisplay, _in_notebook, show_progress
from phosphene.workflows.progress import Progress


@pytest.fixture
def terminal():
    """A display on a terminal, and what it has written."""
    display = ProgressDisplay("load torch")
    display.console = Console(file=io.StringIO(), force_terminal=True, width=120)
    return display, display.console.file


def test_a_line_stands_above_the_bar(terminal):
    display, stream = terminal
    with display:
        display.update("map 1 of 2, star", 0.25, "loss 1.000")
        display.print("star [bold]: p 0.9")
        display.update("map 2 of 2, heart", 0.75)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", stream.getvalue())]
    assert "star [bold]: p 0.9" in [line.rstrip() for line in lines]
    assert any("load torch" in line for line in lines)
    assert any("map 2 of 2, heart" in line and "75 %" in line for line in lines)


def test_a_narrow_terminal_has_the_bar_and_the_share_without_the_figures(terminal):
    display, stream = terminal
    display.console = Console(file=stream, force_terminal=True, width=80)
    with display:
        display.update("map 2 of 2, polka dots", 0.5)
        display.part_began -= 12.0
        display.update("map 2 of 2, polka dots", 0.75, "step 30 of 40, loss 0.504, predicted for 88 %")
    assert "polka dots" in stream.getvalue()
    assert "75 %" in stream.getvalue()
    assert "12 s left" in stream.getvalue()
    assert "loss" not in stream.getvalue()


def test_what_takes_longer_is_a_line_and_other_warnings_are_left_alone(terminal):
    display, stream = terminal
    before = warnings.showwarning
    with warnings.catch_warnings(record=True, action="default") as others, display:
        warnings.warn("net is not compiled", SpeedWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert "phosphene: warning: net is not compiled" in stream.getvalue()
    assert [str(one.message) for one in others] == ["something else"]
    assert warnings.showwarning is before


def test_plain_lines_come_now_and_then(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("phosphene.progress.time.monotonic", lambda: now[0])
    monkeypatch.setenv("PHOSPHENE_PROGRESS_SECONDS", "10")
    with ProgressDisplay("net") as display:
        for share in (0.1, 0.2, 0.3):
            display.update("scan", share)
        assert capfd.readouterr().err == ""
        now[0] = 20.0
        display.update("scan", 0.4)
        assert capfd.readouterr().err == "net: scan, 40 % done, 40 s left\n"
        display.update("map", 0.5, last=True)
        assert capfd.readouterr().err.startswith("net: map, ")


def test_a_plain_line_is_not_repeated(capfd, monkeypatch):
    """Of a part that is not counted, and takes longer than the time between two lines."""
    monkeypatch.setenv("PHOSPHENE_PROGRESS_SECONDS", "0")
    with ProgressDisplay("scan") as display:
        for what in ("a candidate for heart", "a candidate for heart", "a candidate for star", "a candidate for heart"):
            display.update(what)
    lines = capfd.readouterr().err.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["heart", "star", "heart"]


@pytest.mark.parametrize("seconds", ["abc", "-1", "nan"])
def test_a_time_between_lines_that_is_none_is_refused_in_one_line(call, monkeypatch, tmp_path, seconds):
    monkeypatch.setenv("PHOSPHENE_PROGRESS_SECONDS", seconds)
    line = call("map", "demo:shapes", "-c", "star", "--out", tmp_path / "run").complaint
    assert line == f"phosphene: PHOSPHENE_PROGRESS_SECONDS is {seconds!r}; it must be a number of seconds, 0 or more."
    assert not (tmp_path / "run").exists()


def test_plain_lines_name_the_work_once_it_has_begun(capfd):
    with ProgressDisplay("load torch") as opened, show_progress(opened, "site") as display:
        display.update("7 of 9 maps", last=True)
    assert capfd.readouterr().err == "site: 7 of 9 maps\n"


def test_the_time_left_of_a_new_part_begins_anew(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("phosphene.progress.time.monotonic", lambda: now[0])
    with ProgressDisplay("net") as display:
        display.update("map", 0.5)
        now[0] = 100.0
        display.update("map", 1.0)
        display.update("scan", 0.1)
        now[0] = 101.0
        capfd.readouterr()
        display.update("scan", 0.2, last=True)
    assert capfd.readouterr().err == "net: scan, 20 % done, 8 s left\n"


def test_a_hidden_display_warns_as_python_does(capfd):
    with show_progress(False, "net") as display:
        display.update("map", 0.5, last=True)
        display.print("a line")
        with pytest.warns(UserWarning, match="doubtful"):
            display.warn("doubtful")
    assert capfd.readouterr().err == ""


def test_a_warning_and_a_note_are_shown_once_however_many_runs_they_are_about(capfd):
    with ProgressDisplay("net") as display:
        for _ in range(2):
            display.warn("doubtful")
            display.note("random weights")
        display.warn("another")
    assert capfd.readouterr().err.splitlines() == [
        "phosphene: warning: doubtful",
        "phosphene: random weights",
        "phosphene: warning: another",
    ]
    assert display.warnings == ["doubtful", "random weights", "another"]


def test_a_display_that_the_caller_has_opened_is_used():
    with ProgressDisplay("net") as display, show_progress(display, "map") as same:
        assert same is display


def test_a_shell_that_is_a_kind_of_a_notebooks_is_a_notebook(monkeypatch):
    """Colab's shell is a subclass of another name."""
    notebooks = type("ZMQInteractiveShell", (), {})
    colab, terminal = type("Shell", (notebooks,), {}), type("TerminalInteractiveShell", (), {})
    for shell, expected in ((notebooks, True), (colab, True), (terminal, False)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=shell))
        assert _in_notebook() is expected


@pytest.mark.parametrize(("of_units", "said"), [(False, "classified as it"), (True, "activate it")])
def test_the_share_of_a_step_says_what_it_is_of(capsys, of_units, said):
    step = Step(8, 8, loss=0.504, hits=0.0, nu=torch.zeros(1, 3, 4, 4))
    Progress(0, 1, ("star",), step, of_units).show(ProgressDisplay("map"))
    assert f"star, step 8 of 8, loss 0.504, 0 % of the step's samples {said}, 100 % done" in capsys.readouterr().err
