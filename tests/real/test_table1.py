"""The command that repeats the paper's table 1 runs to its end with the paper's three networks, of random weights here."""

import re
import sys

import pytest
from benchmarks import common
from benchmarks.maps import table1

NETWORKS = ("vgg16", "resnet50", "densenet121")


@pytest.mark.slow
@pytest.mark.real
def test_every_network_is_source_and_target(shared, tmp_path, monkeypatch, capsys):
    labels = shared / "zoo" / "imagenet_1000.txt"
    specs = [tmp_path / f"{name}.toml" for name in NETWORKS]
    for name, spec in zip(NETWORKS, specs, strict=True):
        spec.write_text(
            f'arch = "torchvision:{name}"\nlabels = "{labels}"\n[input]\nsize = [32, 32]\n'
            "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n",
            encoding="utf-8",
        )
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(table1, "SHORT", {"batch_size": 2, "steps": 2, "refine_steps": 1})
    monkeypatch.setattr(table1, "CONCEPTS", common.CONCEPTS[:2])
    words = [*map(str, specs), "--recipes", "paper", "--seeds", "1", "--samples", "synthetic:mixed"]
    monkeypatch.setattr(sys, "argv", ["table1", *words])
    table1.main()
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[0][:4]] == ["source \\ target", *NETWORKS]
    assert [row[0].strip() for row in rows[2:]] == list(NETWORKS)
    for row in rows[2:]:
        for cell in row[1:4]:
            assert re.fullmatch(r" [01]\.\d\d \([01]\.\d\d to [01]\.\d\d\) / [01]\.\d\d ", cell), cell
    assert len(list((tmp_path / "runs" / "table1").glob("*/maps/*/seed-0/map.json"))) == 6
