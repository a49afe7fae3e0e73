"""`phosphene demo` in a process of its own, to the end: another network classifies its maps as their classes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.mark.slow
def test_the_demo_makes_maps_that_another_network_classifies(tmp_path: Path) -> None:
    environment = {**os.environ, "PHOSPHENE_DEBUG": "1"}
    command = [sys.executable, "-m", "phosphene", "demo", "--out", str(tmp_path / "demo"), "--json"]
    keys: dict[str, Any] = {"capture_output": True, "text": True, "env": environment, "cwd": tmp_path, "timeout": 900}
    done = subprocess.run(command, check=False, **keys)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["as_expected"] is True
    itself, other = answer["scores"]
    assert itself["top1_all"] >= 0.95
    assert other["top1_all"] >= 0.5
    assert other["target"] != itself["target"]
    run = json.loads((tmp_path / "demo" / "run.json").read_text(encoding="utf-8"))
    assert run["samples"]["spec"] == "synthetic:mixed"
    assert len(run["jobs"]) == 12
    for row in run["jobs"]:
        name = f"{row['label'].replace(' ', '-')}-{row['index']}"
        with Image.open(tmp_path / "demo" / "maps" / name / "seed-0" / "map.png") as image:
            assert image.size == (96, 96)
            assert len(set(image.convert("L").tobytes())) > 30  # not a plain area
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "<img" in page
    assert "How other classifiers classify these maps" in page
    # The same command again finds everything done.
    again = subprocess.run(command, check=False, **keys)
    assert json.loads(again.stdout)["scores"] == answer["scores"]
