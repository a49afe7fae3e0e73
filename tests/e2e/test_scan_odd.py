"""`phosphene scan` of networks that are merely odd: a verdict, or one line that says why there is none."""

import json
import math

import pytest
import tomli_w
import torch
from safetensors.torch import save_file

from tests import tiny

FACTORY = """\
from torch import nn


def odd():
    return nn.Sequential(
        nn.Conv2d({channels}, 8, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, {classes}),
    )
"""


@pytest.fixture
def scan(call, sample_folder, tmp_path):
    """Write a network of so many channels and classes, changed."""

    def scan(channels, classes, *words, change=None):
        space = {"size": [tiny.SIDE, tiny.SIDE], "mean": [0.5] * channels, "std": [0.25] * channels}
        folder = tmp_path / "odd"
        folder.mkdir()
        code = FACTORY.format(channels=channels, classes=classes)
        (folder / "odd.py").write_text(code, encoding="utf-8")
        (folder / "labels.txt").write_text("".join(f"sign {k}\n" for k in range(classes)), encoding="utf-8")
        scope: dict[str, object] = {}
        exec(code, scope)  # noqa: S102  (the text above)
        torch.manual_seed(0)
        net = scope["odd"]()  # type: ignore[operator]
        with torch.no_grad():
            net[-1].weight.mul_(8)  # so that it answers differently to different sample_folder
            if change:
                change(net[-1])
        save_file(net.state_dict(), folder / "odd.safetensors")
        card = {
            "name": "odd",
            "factory": "odd.py:odd",
            "weights": "odd.safetensors",
            "labels": "labels.txt",
            "input": space,
        }
        (folder / "odd.toml").write_text(tomli_w.dumps(card), encoding="utf-8")
        own = [
            "--trust",
            "--samples",
            sample_folder,
            "--device",
            "cpu",
            "--out",
            tmp_path / "scan",
            "--no-map",
            "--json",
        ]
        return call("scan", folder / "odd.toml", *own, *words)

    return scan


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 43), (4, 5)])
def test_any_number_of_channels_and_classes_gets_a_verdict(scan, channels, classes):
    answer = scan(channels, classes, "--no-range-check")
    assert answer.code in (0, 1, 3), answer.err
    found = json.loads(answer.out)
    assert {"clean": 0, "backdoored": 1, "inconclusive": 3}[found["verdict"]] == answer.code
    assert sorted(one["index"] for one in found["classes"]) == list(range(classes))
    assert all(math.isfinite(one["p_value"]) for one in found["classes"])


def test_two_classes_are_too_few_to_compare(scan):
    answer = scan(3, 2, "--no-range-check")
    found = json.loads(answer.out)
    assert (answer.code, found["verdict"]) == (3, "inconclusive")
    assert "as references" in found["reasons"][0]


def test_one_class_is_refused(scan, tmp_path):
    assert scan(3, 1).complaint
    assert not (tmp_path / "scan").exists()


def test_a_constant_network_gets_no_verdict(scan, tmp_path):
    assert "has the same output for every image" in scan(3, 10, change=lambda last: last.weight.zero_()).complaint
    assert not (tmp_path / "scan").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_answers_with_no_number_gets_no_verdict(scan, tmp_path, value):
    assert "NaN" in scan(3, 10, change=lambda last: last.bias.fill_(value)).complaint
    assert not (tmp_path / "scan").exists()
