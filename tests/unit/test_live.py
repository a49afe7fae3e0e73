"""Previews and signs of life: seen while a run is made, gone afterwards, and never a reason to fail."""

import json
import os
import socket
import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from phosphene.concept_map import Job, render
from phosphene.recipe import resolve
from phosphene.runs import RunDirectory, live
from phosphene.runs.live import LivePreview, read_live
from phosphene.samples.pool import make_pool
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests import tiny

PAIR = [(Job(0, 0), "lion"), (Job(3, 1), "maillot")]


def step(number=1, total=9, **changes):
    nu = torch.randn((2, 3, 16, 16), generator=torch.Generator().manual_seed(number))
    return SimpleNamespace(**{"number": number, "total": total, "loss": 1.5, "hits": 0.25, "nu": nu} | changes)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves, and the seconds that drawing took."""
    clock = SimpleNamespace(now=1000.0, spent=0.0)
    monkeypatch.setattr(live.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(live.time, "thread_time", lambda: clock.spent)
    return clock


def test_a_preview_is_the_map_as_it_is_and_goes_when_the_map_is_made(tmp_path, clock):
    now = step(2)
    with LivePreview(RunDirectory(tmp_path), PAIR, 0.2) as preview:
        preview(step())
        (sign,) = read_live(tmp_path)
        assert sign.maps == ((0, 0), (3, 1))
        assert (sign.step, sign.steps, sign.loss, sign.hits) == (1, 9, 1.5, 0.25)
        assert not list(tmp_path.rglob("*.webp"))
        clock.now += live.FIRST_SECONDS
        preview(now)
        shown = Image.open(tmp_path / "maps/lion-0/seed-0/preview.webp").convert("RGB")
        wanted = (render(now.nu[0], 0.2) * 255).mean()
        assert shown.size == (16, 16)
        assert abs(torch.tensor(list(shown.tobytes())).float().mean() - wanted) < 4
        assert (tmp_path / "maps/maillot-3/seed-1/preview.webp").exists()
    assert files(tmp_path) == []
    assert read_live(tmp_path) == []


def test_previews_sharpen_and_take_less_than_one_percent_of_the_time(tmp_path, monkeypatch, clock):
    with LivePreview(RunDirectory(tmp_path), PAIR, 0.2) as preview:
        path = tmp_path / "maps/lion-0/seed-0/preview.webp"
        drawn = []
        for done in range(1, 66):
            preview(step(done))
            drawn.append(path.read_bytes() if path.exists() else b"")
            clock.now += 0.1
        changes = sum(one != other for one, other in pairwise(drawn))
        assert changes == 3  # after half a second, and every two seconds
        draw = lambda _: setattr(clock, "spent", clock.spent + 0.15)  # noqa: E731  (an expensive image)
        monkeypatch.setattr(preview, "_write_preview", draw)
        began = clock.now
        for done in range(66, 2066):
            preview(step(done))
            clock.now += 0.1
            assert read_live(tmp_path), "it is alive, though it draws nothing"
        assert 0 < clock.spent < 0.01 * (clock.now - began)


def test_a_failure_to_write_is_ignored(tmp_path):
    (tmp_path / "live").write_text("a file where a folder should be", encoding="utf-8")
    with LivePreview(RunDirectory(tmp_path), PAIR, 0.2) as preview:
        preview(step())
    assert files(tmp_path) == ["live"]


def note(folder, **changes):
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "beat": time.time(), "patience": 60.0}
    facts |= {"step": 1, "steps": 2, "loss": None, "hits": None, "jobs": [{"index": 0, "seed": 0}]} | changes
    (folder / "live").mkdir(exist_ok=True)
    (folder / "live" / "one.json").write_text(json.dumps(facts), encoding="utf-8")
    return read_live(folder)


def test_a_process_that_is_gone_is_not_running(tmp_path):
    assert note(tmp_path)
    assert not note(tmp_path, beat=time.time() - 61)
    assert note(tmp_path, beat=time.time() - 61, patience=100.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert note(tmp_path, pid=other.pid)
        other.communicate(b"\n")
    assert not note(tmp_path, pid=other.pid)
    assert note(tmp_path, pid=other.pid, host="elsewhere")  # of another machine only time tells


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"beat": "now"}', "[" * 100_000, '{"beat": 1e400, "patience": 1}'])
def test_a_damaged_note_says_nothing(tmp_path, text):
    assert note(tmp_path)
    (tmp_path / "live" / "one.json").write_text(text, encoding="utf-8")
    assert read_live(tmp_path) == []


def test_a_run_shows_itself_while_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "FIRST_SECONDS", 0.0)
    pool = make_pool(torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), "some")
    recipe = resolve("quick", tiny.SHORT)
    todo = plan(tiny.classifier(), recipe, pool, tmp_path / "run", [0, 3], device="cpu")
    seen = []

    def look(_):
        seen.append((read_live(tmp_path / "run"), files(tmp_path / "run" / "maps")))

    execute(todo, on_progress=look)
    signs, images = seen[1]
    assert signs[0].steps == 5
    assert any(name.endswith("preview.webp") for name in images)
    after = files(tmp_path / "run")
    assert not [name for name in after if name.startswith("live/") or name.endswith("preview.webp")]
    assert len([name for name in after if name.endswith("map.png")]) == 2
