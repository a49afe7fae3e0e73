"""The examples run unchanged: the notebook, cell by cell, and the training that maps as it goes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

book = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(book)
NotebookClient(book, timeout=None, kernel_name="python3").execute()
nbformat.write(book, sys.argv[1])
"""


def outputs(book):
    """What each cell of code shows: its data by kind, and what it prints as one text."""
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    shown = [{kind: text for one in cell["outputs"] for kind, text in one.get("data", {}).items()} for cell in cells]
    printed = ["".join("".join(one.get("text", "")) for one in cell["outputs"]) for cell in cells]
    return shown, printed


def test_the_notebook_runs_to_its_end(tmp_path):
    stored = (EXAMPLES / "demo.ipynb").read_text(encoding="utf-8")
    assert not any(cell.get("outputs") for cell in json.loads(stored)["cells"])  # each run makes them anew
    copy = tmp_path / "demo.ipynb"
    copy.write_text(stored, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, copy],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shown, printed = outputs(json.loads(copy.read_text(encoding="utf-8")))
    install, device, grid, one, score, check, scan, photographs = range(8)
    assert not shown[install]
    assert not printed[install]  # only in Colab
    assert printed[device].strip() in {"cpu", "cuda"}
    assert {grid, one} <= {cell for cell, kinds in enumerate(shown) if "image/png" in kinds}
    assert {one, score, check, scan} <= {cell for cell, kinds in enumerate(shown) if "text/html" in kinds}
    assert "heart" in "".join(shown[scan]["text/html"])  # the class of the backdoor
    assert "skipped: " in printed[photographs] or "image/png" in shown[photographs]  # without a network, and with one


@pytest.mark.filterwarnings("ignore")
def test_training_with_maps_runs(tmp_path):
    pytest.importorskip("tensorboard")
    words = ["--epochs", 3, "--every", 2, "--pictures", 96, "--steps", 3, "--concepts", "star", "ring"]
    done = subprocess.run(
        [
            sys.executable,
            EXAMPLES / "watch_training.py",
            *map(str, words),
            "--tensorboard",
            "tb",
            "--out",
            "watch.webp",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("star p 0.") + done.stdout.count("star p 1.") == 2
    with Image.open(tmp_path / "watch.webp") as film:
        assert film.n_frames == 2
    assert list((tmp_path / "tb").iterdir())
