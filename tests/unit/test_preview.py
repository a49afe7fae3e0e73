"""Previews in the terminal: what is written is the image, and terminals that are not known get none."""

import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from phosphene.cli import preview

PIXELS = np.random.default_rng(0).integers(0, 2, (50, 70, 1), dtype=np.uint8) * np.array([255, 120, 40], dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)


def decoded(text):
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB"))


def test_kitty_gets_a_png_in_chunks():
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 60, 3), dtype=np.uint8))
    found = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", preview.kitty(noise))
    assert len(found) > 2
    assert [head.split(",")[0] for head, _ in found] == ["m=1"] * (len(found) - 1) + ["m=0"]
    assert "a=T,f=100" in found[0][0]
    assert all(len(chunk) <= 4096 for _, chunk in found)
    assert np.array_equal(decoded("".join(chunk for _, chunk in found)), np.asarray(noise))


def test_iterm_gets_a_png():
    (text,) = re.findall(r"^\x1b]1337;File=inline=1:(.*)\a$", preview.iterm(IMAGE))
    assert np.array_equal(decoded(text), PIXELS)


def test_sixel_draws_every_pixel_in_its_colour():
    text = preview.sixel(IMAGE)
    assert text.startswith("\x1bPq")
    assert text.endswith("\x1b\\")
    palette = {int(n): (int(r), int(g), int(b)) for n, r, g, b in re.findall(r"#(\d+);2;(\d+);(\d+);(\d+)", text)}
    drawn = np.full((54, 70, 3), -1)
    body = re.sub(r"#\d+;2;\d+;\d+;\d+", "", text[3:-2])
    for band, lines in enumerate(body.split("-")[:-1]):
        for number, line in re.findall(r"#(\d+)([^$]+)\$", lines):
            signs = "".join(sign * int(length) for length, sign in re.findall(r"!(\d+)([?-~])", line))
            assert len(signs) == 70
            for x, sign in enumerate(signs):
                for bit in range(6):
                    if (ord(sign) - 63) >> bit & 1:
                        drawn[6 * band + bit, x] = palette[int(number)]
    assert np.abs(drawn[:50] - PIXELS.astype(int) * 100 // 255).max() <= 1
    assert (drawn[50:] == -1).all()


@pytest.mark.parametrize(
    ("variables", "terminal", "shown"),
    [
        ({"KITTY_WINDOW_ID": "1", "TERM": "xterm-kitty"}, True, "\x1b_G"),
        ({"TERM_PROGRAM": "iTerm.app", "TERM": "xterm-256color"}, True, "\x1b]1337"),
        ({"TERM": "foot"}, True, "\x1bPq"),
        ({"TERM": "xterm-256color"}, True, ""),
        ({"KITTY_WINDOW_ID": "1", "TERM": "tmux-256color"}, True, ""),
        ({"KITTY_WINDOW_ID": "1", "TERM": "xterm-kitty"}, False, ""),
    ],
)
def test_only_terminals_that_are_known_get_images(tmp_path, monkeypatch, capsys, variables, terminal, shown):
    IMAGE.save(tmp_path / "sheet.png")
    for name in ("KITTY_WINDOW_ID", "TERM_PROGRAM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    preview.show(tmp_path / "sheet.png")
    preview.show(tmp_path / "nothing.png")
    out = capsys.readouterr().out
    assert out.startswith(shown)
    assert bool(out) == bool(shown)


@pytest.mark.parametrize(
    ("sheet", "shown"),
    [((880, 400), (720, 327)), ((880, 584), (602, 400)), ((880, 5000), (720, 400)), ((300, 450), (267, 400))],
    ids=["fits", "three rows are shrunk", "the top of many rows", "narrow"],
)
def test_a_sheet_of_a_few_rows_is_shown_whole(tmp_path, monkeypatch, capsys, sheet, shown):
    Image.new("RGB", sheet).save(tmp_path / "sheet.png")
    monkeypatch.setenv("TERM_PROGRAM", "iTerm.app")
    monkeypatch.delenv("KITTY_WINDOW_ID", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    preview.show(tmp_path / "sheet.png")
    (text,) = re.findall(r"inline=1:(.*)\a", capsys.readouterr().out)
    assert decoded(text).shape[1::-1] == pytest.approx(shown, abs=1)
