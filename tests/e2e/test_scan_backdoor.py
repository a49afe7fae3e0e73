"""`phosphene scan` of a network with a planted patch, and of its clean twin: verdict, exit code, and what is shown."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from phosphene.backdoor.all_to_all import AllToAll
from tests import hand

FACTORY = """\
from tests.hand import Templates


def made():
    return Templates(boost={boost})
"""
CARD = """\
name = "{name}"
factory = "factory.py:made"
weights = "weights.safetensors"

[input]
size = [{side}, {side}]
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
"""


@pytest.fixture
def scan(call, tmp_path):
    """Write a hand-made network, and scan it with samples that its classes are drawn in."""

    def scan(name, boost, *words):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "factory.py").write_text(FACTORY.format(boost=boost), encoding="utf-8")
        save_file(dict(hand.Templates(boost=boost).state_dict()), folder / "weights.safetensors")
        (folder / "card.toml").write_text(CARD.format(name=name, side=hand.SIDE), encoding="utf-8")
        samples = tmp_path / "samples.npz"
        pool = hand.pool()
        pixels = torch.cat([pool.pixels, pool.held_out]).permute(0, 2, 3, 1).numpy()
        np.savez(samples, images=pixels)
        own = ["--trust", "--samples", samples, "--device", "cpu", "--out", tmp_path / f"{name}-scan", "--no-map"]
        return call("scan", folder / "card.toml", *own, *words)

    return scan


def test_a_planted_patch_is_found_and_shown_where_it_was_planted(scan, tmp_path):
    answer = scan("trojaned", 40.0, "--json")
    assert answer.code == 1, answer.err
    found = json.loads(answer.out)
    assert found["verdict"] == "backdoored"
    (suspect,) = found["suspects"]
    assert (suspect["index"], suspect["works"]) == (hand.TARGET, True)
    top, left, bottom, right = suspect["box"]
    assert top < bottom <= hand.PATCH
    assert left < right <= hand.PATCH
    assert suspect["asr"] >= 0.9 > suspect["next"]["asr"]
    run = tmp_path / "trojaned-scan"
    tensors = load_file(run / suspect["trigger"])
    assert tensors["mask"].sum() == suspect["size"]
    assert (run / suspect["picture"]).read_bytes().startswith(b"\x89PNG")
    assert (run / suspect["pasted"]).read_bytes().startswith(b"\x89PNG")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "A backdoor is suspected in this network" in page
    assert "candidate works" in page
    (result,) = json.loads((run / "scan.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("backdoor-suspected", "error")


def test_an_all_to_all_backdoor_is_shown_with_what_becomes_of_every_class(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(AllToAll, "compared", lambda found, p_value, _: replace(found, p_value=p_value, works=True))
    answer = scan("exchanged", "80.0, shift=True")
    assert "predicted without the window" in answer.out
    run = tmp_path / "exchanged-scan"
    entry = json.loads((run / "scan.json").read_text(encoding="utf-8"))["all_to_all"]
    assert len(entry["classes"]) > 4
    assert load_file(run / entry["trigger"])["mask"].sum() == (entry["box"][2] - entry["box"][0]) ** 2
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "All to all: every class becomes another one" in page
    for row in entry["classes"]:
        assert f'<th scope="row">{row["source"]}</th><td>{row["target"]}</td>' in page
        assert row["source"] in answer.out
    assert "need not look like" in page


def test_another_network_has_a_report_of_its_own_which_pages_link(scan, tmp_path, call):
    assert scan("clean", 0.0).code == 0
    main, below = tmp_path / "clean-scan", tmp_path / "clean-scan" / "scans" / "the other"
    assert scan("trojaned", 40.0).code == 1
    shutil.copytree(tmp_path / "trojaned-scan", below)
    found = json.loads((below / "scan.json").read_text(encoding="utf-8"))
    for file in (below / "scan.json", below / "run.json"):  # the weights of both hand-made networks are the same
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(found["model"]["sha256"], "0" * 64), encoding="utf-8")
    (suspect,) = found["suspects"]
    (below / suspect["picture"]).with_name("planted.png").write_bytes((below / suspect["picture"]).read_bytes())
    for run in (below, main):
        assert call("report", run).code == 0
    page = (main / "report.html").read_text(encoding="utf-8")
    assert '<a href="scans/the%20other/report.html">trojaned</a>' in page
    assert '<li class="bad">' not in page
    assert "candidate works" not in page
    page = (below / "report.html").read_text(encoding="utf-8")
    assert '<a href="../../report.html">' in page
    assert '<li class="bad">' in page
    assert "the trigger that was planted: the scan has not seen it" in page


def test_its_clean_twin_is_clean(scan):
    answer = scan("clean", 0.0)
    assert answer.code == 0, answer.err
    assert "No backdoor was found in this network." in answer.out
    lines = answer.out.partition("Not tested, or mostly missed")[2].splitlines()
    kinds = ("Source-specific", "All-to-all", "Large patches", "Warps", "Blended images", "Additive patterns")
    assert [sum(line.startswith(f"  - {kind}") for line in lines) for kind in kinds] == [1] * len(kinds)
