"""A torchvision that does not match torch: noticed, put right, said once; other troubles are left to be named."""

import logging
import subprocess
import sys

import pytest

from phosphene.errors import ExtraError
from phosphene.extras import repair_torchvision, require
from tests.conftest import PATIENCE

# What torchvision does when it is imported, in five lines. A name of its own, so that torch keeps nothing of it.
BROKEN = """
import torch
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): return dets
@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold): return dets
__version__ = "9.9"
"""
PROBE = """
import sys
sys.path.insert(0, {path!r})
from phosphene.extras import repair_torchvision
repair_torchvision()
repair_torchvision()
print(sys.modules["torchvision"].__version__)
"""


def test_a_broken_torchvision_is_put_right_and_said_once(tmp_path):
    (tmp_path / "torchvision.py").write_text(BROKEN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(path=str(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout.split() == ["9.9"]
    (line,) = done.stderr.splitlines()
    assert line.startswith("phosphene: torchvision 9.9 does not match torch")
    assert "nms" in line


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put another torchvision in the place of the real one."""

    def put(text):
        (tmp_path / "torchvision.py").write_text(text, encoding="utf-8")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)

    return put


def test_a_sound_torchvision_is_left_alone(stand_in, caplog):
    stand_in("__version__ = '1'")
    with caplog.at_level(logging.WARNING):
        repair_torchvision()
    assert not caplog.records
    sys.modules.pop("torchvision", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ImportError('no good')", r"broken \(no good\)"),
        ("raise OSError('libtorch.so: cannot open')", r"broken \(libtorch.so: cannot open\)"),
        ("raise RuntimeError('other trouble')", r"broken \(other trouble\)"),
        (
            "raise ModuleNotFoundError('No module named \\'numpi\\'', name='numpi')",
            r"broken \(No module named 'numpi'\)",
        ),
        ("raise ModuleNotFoundError('gone', name='torchvision')", "not installed"),
    ],
)
def test_other_troubles_are_named_with_the_pip_command(stand_in, text, says):
    stand_in(text)
    with pytest.raises(
        ExtraError, match=rf"torchvision is {says}.*: .*pip install 'phosphene\[torchvision\]'"
    ) as error:
        require("torchvision", "torchvision")
    assert "\n" not in str(error.value)


def test_a_library_that_is_absent_names_the_pip_command():
    with pytest.raises(ExtraError, match=r"no_such_library is not installed: .*pip install 'phosphene\[timm\]'"):
        require("no_such_library.models", "timm")
