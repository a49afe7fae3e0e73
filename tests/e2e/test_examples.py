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
for cell in book.cells:
    if cell.cell_type == "code":
        cell["outputs"] = []
NotebookClient(book, timeout=None, kernel_name="python3").execute()
nbformat.write(book, sys.argv[1])
"""


def outputs(book):
    """What each cell of code shows: kinds of data."""
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    return [sorted(kind for output in cell["outputs"] for kind in output.get("data", {})) for cell in cells]


def test_the_notebook_runs_and_shows_what_is_stored_in_it(tmp_path):
    stored = (EXAMPLES / "demo.ipynb").read_text(encoding="utf-8")
    assert len(stored) < 1_000_000
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
    fresh = json.loads(copy.read_text(encoding="utf-8"))
    assert outputs(fresh) == outputs(json.loads(stored))
    assert sum("text/html" in kinds for kinds in outputs(fresh)) == 4
    assert sum("image/png" in kinds for kinds in outputs(fresh)) == 3


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
