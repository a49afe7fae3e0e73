"""On a GPU: the same maps as on the CPU up to rounding, alone or in a group, compiled or not.

They are skipped on a machine without a GPU, and CI has none: run them on one after a change of the engine
(`pytest tests/unit/test_cuda.py`).
"""

import json

import pytest
import torch

import phosphene as ph
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.engine.tuning import cache_file, network_facts
from phosphene.mapper import map_jobs
from phosphene.recipe import resolve
from phosphene.samples import load_samples

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:.*is deprecated. Please switch to:DeprecationWarning"),  # torch.compile's own
]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Exact single precision, and a cache of its own."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def network():
    return ph.load("demo:shapes")


def gradients(network, **how):
    """Gradients of two maps on five samples each, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    samples = torch.randint(0, 256, (2, 5, *network.input.shape), dtype=torch.uint8, generator=generator)
    nu = torch.randn(2, *network.input.shape, generator=generator) / 10
    with Engine(network, **how) as engine:
        put = engine.device
        return engine.mean_gradients(
            samples.to(put), nu.to(put), torch.tensor([0, 3], device=put), "log-odds"
        ).gradient.cpu()


@pytest.mark.parametrize("compiled", ["off", "on"])
def test_gradients_are_those_of_the_cpu(network, compiled):
    expected = gradients(network, device="cpu")
    found = gradients(network, device="cuda", compile=compiled)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-4 * float(expected.abs().max()))


def test_bf16_gradients_point_the_same_way(network):
    one, other = (gradients(network, device="cuda", precision=precision).flatten() for precision in ("fp32", "bf16"))
    assert torch.nn.functional.cosine_similarity(one, other, 0) > 0.95


def test_maps_are_classified_as_their_class_and_a_group_changes_them_little(network):
    pool = load_samples("synthetic:mixed", network.input.shape)
    jobs, recipe = [Job(index) for index in range(3)], resolve("vivid")
    with Engine(network, device="cuda") as engine:
        together = map_jobs(engine, pool, jobs, recipe)
        (alone,) = map_jobs(engine, pool, jobs[:1], recipe)
    assert min(one.p_class for one in together) > 0.9
    likeness = torch.nn.functional.cosine_similarity(alone.nu.flatten(), together[0].nu.flatten(), 0)
    assert likeness > 0.9  # rounding grows from step to step


def test_the_micro_batch_is_measured_and_remembered(network):
    with Engine(network, device="cuda") as engine:
        cached = json.loads(cache_file(network_facts(engine)).read_text(encoding="utf-8"))
        assert cached["micro_batch"] == engine.micro_batch
        assert cached["device"] == torch.cuda.get_device_name()
    cache_file(network_facts(engine)).write_text(json.dumps(cached | {"micro_batch": 7}), encoding="utf-8")
    with Engine(network, device="cuda") as again:
        assert again.micro_batch == 7
