"""The micro-batch is measured once per network and machine, and cached; on a CPU it is fixed."""

import json

import pytest
import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.tuning import DOUBLINGS, cache_file, fastest, images_per_second, network_facts, tuned_micro_batch
from phosphene.errors import DeviceError
from tests import hand


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


class Hungry(hand.Templates):
    """Runs out of memory on more than ``most`` images at once; counts its calls."""

    most, calls = 8, 0

    def forward(self, pixels):
        self.calls += 1
        if len(pixels) > self.most:
            raise torch.cuda.OutOfMemoryError
        return super().forward(pixels)


def hungry(most=8):
    made = hand.classifier()
    made.module = Hungry().eval()
    made.module.most = most
    return made


@pytest.mark.parametrize(
    ("speeds", "wanted"),
    [
        ({2: 10, 4: 19, 8: 30, 16: 30.5, 32: 90}, 8),  # from where it pays no more, whatever comes after
        ({2: 10, 4: 19, 8: 0, 16: 99}, 4),  # 8 does not fit
        ({2: 10, 4: 20, 8: 40, 16: 80, 32: 160}, 32),
        ({2: 0, 4: 0}, 2),  # the engine halves it further
    ],
)
def test_the_size_from_which_more_is_not_worth_its_memory(speeds, wanted):
    assert fastest(speeds.__getitem__, sorted(speeds)) == wanted


def test_what_does_not_fit_has_no_speed():
    with Engine(hungry(), device="cpu") as engine:
        assert images_per_second(engine, 8) > 0
        assert images_per_second(engine, 16) == 0


def test_it_is_measured_once_and_fits(cache):
    made = hungry()
    with Engine(made, device="cpu") as engine:
        found = tuned_micro_batch(engine, 1)
        assert found in [2**k for k in range(DOUBLINGS)]
        assert found <= 8
        calls = made.module.calls
        assert calls > 0
        assert tuned_micro_batch(engine, 1) == found
        assert made.module.calls == calls
        (file,) = cache.rglob("*.json")
        assert file == cache_file(network_facts(engine))
        assert json.loads(file.read_text())["micro_batch"] == found
        file.write_text("{}")
        assert tuned_micro_batch(engine, 1) <= 8
        assert made.module.calls > calls
    with Engine(made, device="cpu", precision="fp64") as other:
        assert cache_file(network_facts(other)) != file


def test_a_size_that_did_not_fit_is_not_cached(cache):
    with Engine(hungry(2), device="cpu") as engine:
        assert tuned_micro_batch(engine, 1) <= 2
    assert not list(cache.rglob("*.json"))


def test_a_kernel_that_takes_no_batch_so_large_has_no_speed(monkeypatch):
    made = hungry(99)

    def refuse(self, pixels):
        if len(pixels) > 4:
            raise RuntimeError("index does not fit in 32 bits")
        return hand.Templates.forward(self, pixels)

    monkeypatch.setattr(Hungry, "forward", refuse)
    with Engine(made, device="cpu") as engine:
        assert tuned_micro_batch(engine, 1) <= 4


def test_a_network_keeps_its_hash():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    made, same = Classifier(net, size=16), Classifier(net, size=16)
    engine = Engine(made, device="cpu", precision="fp64")
    engine._tune = True
    with engine:
        pass
    assert made.sha256 == same.sha256


def test_the_size_of_groups_of_maps_is_not_measured():
    with Engine(hungry(), device="cpu") as engine:
        before = engine.images_per_group
        tuned_micro_batch(engine, 1)
        assert engine.images_per_group == before


def test_a_home_that_cannot_be_written_is_no_error(cache):
    (cache / "phosphene").write_text("in the way")
    with Engine(hungry(), device="cpu") as engine:
        assert tuned_micro_batch(engine, 1) <= 8


def test_only_a_gpu_is_measured(cache):
    with Engine(hungry(10**6), device="cpu") as engine:
        usual = engine.micro_batch
    assert not list(cache.rglob("*"))
    engine._tune = True  # as on a GPU
    with engine:
        assert usual // 8 <= engine.micro_batch <= usual
        assert list(cache.rglob("*.json"))


def test_a_network_that_fails_during_the_measurement_is_restored():
    made = hungry(0)
    made.module.train()
    engine = Engine(made, device="cpu", micro_batch=1)
    engine._tune = True
    with pytest.raises(DeviceError, match="no memory for one image"), engine:
        pass
    assert made.module.training
