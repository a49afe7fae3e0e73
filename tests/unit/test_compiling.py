"""A compiled network answers as it does uncompiled, or one line says that it cannot be compiled."""

import json

import pytest
import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.engine import Engine, compiling
from phosphene.engine.compiling import CompileFigures, cache_file, compiled_if_it_pays, network_facts
from phosphene.engine.statistics import Prior
from phosphene.errors import DeviceError, SpeedWarning

pytestmark = [
    pytest.mark.usefixtures("compiler", "cache"),
    pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated. Please switch to:DeprecationWarning"),  # torch's own modules
]


@pytest.fixture
def cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def classifier(width: int) -> Classifier:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4, 3, stride=2), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    return Classifier(module, size=12, mean=[0.5] * 3, std=[0.25] * 3)


@pytest.mark.slow
def test_gradients_are_those_of_the_network_as_it_stands() -> None:
    network = classifier(6)
    generator = torch.Generator().manual_seed(1)
    samples = torch.randint(0, 256, (2, 5, 3, 12, 12), dtype=torch.uint8, generator=generator)
    nu, classes = torch.randn(2, 3, 12, 12, generator=generator) / 10, torch.tensor([1, 3])
    with Engine(network, micro_batch=4) as eager, Engine(network, micro_batch=4, compile="on") as fast:
        for loss in ("cross-entropy", "log-odds"):
            expected, found = (engine.mean_gradients(samples, nu, classes, loss) for engine in (eager, fast))
            torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(found.loss, expected.loss)
            assert found.hits.equal(expected.hits)
        images, owners = samples[0] / 255, torch.tensor([1, 1, 2, 3, 4])
        slopes = fast.gradients(images, owners)
        torch.testing.assert_close(slopes.gradient, eager.gradients(images, owners).gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_statistics_are_read_from_a_compiled_network() -> None:
    """The pass with hooks and the one without are compiled each for itself, whichever is first."""
    generator = torch.Generator().manual_seed(1)
    samples = torch.randint(0, 256, (2, 5, 3, 12, 12), dtype=torch.uint8, generator=generator)
    nu, classes = torch.randn(2, 3, 12, 12, generator=generator) / 10, torch.tensor([1, 3])
    with Engine(classifier(6)) as eager, Engine(classifier(6), compile="on") as fast:
        expected, found = [], []
        for engine, results in ((eager, expected), (fast, found)):
            prior = Prior(engine.feature_statistics(samples[0]), 0.3)
            measured = engine.mean_gradients(samples, nu, classes, "log-odds", prior)
            prior = prior._replace(weight=measured.weight)
            weighted = [engine.mean_gradients(samples, nu, classes, "log-odds", prior) for _ in range(2)]
            results += [measured, *weighted, engine.mean_gradients(samples, nu, classes, "log-odds")]
            results.append(engine.mean_gradients(samples, nu, classes, "log-odds", prior))
        assert len(fast.forwards.chosen) == 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.gradient, other.gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_statistics_of_other_samples_are_not_taken_for_the_first() -> None:
    generator = torch.Generator().manual_seed(1)
    pools = torch.randint(0, 256, (2, 6, 3, 12, 12), dtype=torch.uint8, generator=generator)
    batch, nu = pools[:, :2] // 2, torch.randn(2, 3, 12, 12, generator=generator) / 10
    weight, classes = torch.tensor([3.0, 3.0]), torch.tensor([1, 3])
    with Engine(classifier(6)) as eager, Engine(classifier(6), compile="on") as fast:
        for samples in (*pools, pools[0]):
            expected, found = (
                engine.mean_gradients(
                    batch, nu, classes, "log-odds", Prior(engine.feature_statistics(samples), 0.3, weight)
                )
                for engine in (eager, fast)
            )
            torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_network_that_is_read_is_compiled_once_to_be_timed() -> None:
    from torch._dynamo.utils import counters

    samples = torch.randint(0, 256, (6, 3, 12, 12), dtype=torch.uint8)
    with Engine(classifier(5), device="cpu", planned_passes=10**12) as engine:
        plain, read = engine.forwards._logits_that_are_read, engine.feature_statistics(samples)
        counters.clear()
        compiled_if_it_pays(engine, plain, 4, read.collecting_features)
        assert counters["stats"]["unique_graphs"] == 1
        facts = json.loads(cache_file(network_facts(engine) | {"images": "4", "statistics": "True"}).read_text())
        assert facts["seconds"] > 0
        assert facts["precision"] == "fp32"


@pytest.mark.slow
def test_a_network_is_compiled_once_although_it_has_not_run_in_this_type_before() -> None:
    from torch._dynamo.utils import counters

    network, images, classes = classifier(6), torch.rand(4, 3, 12, 12), torch.tensor([0, 1, 2, 3])
    assert network.num_classes == 5  # found in single precision
    with Engine(network, device="cpu", precision="fp64", compile="on") as engine:
        counters.clear()
        for _ in range(3):
            engine.gradients(images, classes)
        assert counters["stats"]["unique_graphs"] == 1


def test_without_a_compiler_one_line_says_so() -> None:
    from torch._inductor import config

    images = torch.rand(2, 3, 12, 12)
    with (
        config.patch({"cpp.cxx": ("/nowhere/c++",), "force_disable_caches": True}),
        Engine(classifier(7), compile="on") as engine,
        pytest.raises(DeviceError, match=r"cannot be compiled here \(.*compiler") as said,
    ):
        engine.gradients(images, torch.tensor([0, 1]))
    assert "\n" not in str(said.value)


# --- auto


@pytest.mark.parametrize(("images", "pays"), [(0, False), (1_000, False), (2_900, False), (3_100, True)])
def test_compiling_pays_from_as_many_images_as_earn_its_seconds_back(images, pays):
    assert CompileFigures(seconds=10, before=100, after=150).pays(images) is pays


def test_what_is_slower_never_pays():
    assert not CompileFigures(seconds=0.1, before=100, after=99).pays(10**12)


def figures_file(engine, count):
    return cache_file(network_facts(engine) | {"images": str(count), "statistics": "False"})


@pytest.mark.slow
def test_what_compiling_took_and_brought_is_measured_once_and_decides() -> None:
    images, classes = torch.rand(4, 3, 12, 12), torch.tensor([0, 1, 2, 3])
    with Engine(classifier(5), device="cpu", planned_passes=10**12) as engine:
        plain = engine.classifier.logits
        expected = engine.gradients(images, classes).gradient
        chosen = engine.forwards.chosen[None] = compiled_if_it_pays(engine, plain, 4)
        figures = json.loads(figures_file(engine, 4).read_text())
        assert figures["seconds"] > 0
        assert (chosen is plain) == (figures["after"] <= figures["before"])
        torch.testing.assert_close(engine.gradients(images, classes).gradient, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(engine.gradients(images[:3], classes[:3]).gradient, expected[:3])
        figures_file(engine, 4).write_text(json.dumps(figures | {"seconds": 1e9, "before": 1.0, "after": 2.0}))
        engine.planned_passes = 1000
        assert compiled_if_it_pays(engine, plain, 4) is plain


def test_few_passes_are_not_compiled_for_and_on_a_cpu_none_are():
    with Engine(classifier(5), device="cpu", planned_passes=100) as engine:
        plain = engine.classifier.logits
        assert compiled_if_it_pays(engine, plain, 4) is plain
        assert not figures_file(engine, 4).exists()  # nothing was compiled
        engine.planned_passes = 10**12
        engine.gradients(torch.rand(2, 3, 12, 12), torch.tensor([0, 1]))
        assert list(engine.forwards.chosen.values()) == [plain]
    with pytest.raises(DeviceError, match="use auto, on, off"):
        Engine(classifier(5), compile="yes")


def test_without_a_compiler_auto_goes_on_and_says_so() -> None:
    from torch._inductor import config

    images, classes = torch.rand(2, 3, 12, 12), torch.tensor([0, 1])
    with Engine(classifier(7), device="cpu", planned_passes=10**12) as engine:
        expected = engine.gradients(images, classes).gradient
        with (
            config.patch({"cpp.cxx": ("/nowhere/c++",), "force_disable_caches": True}),
            pytest.warns(SpeedWarning, match=r"classifier is not compiled \(.*compiler"),
        ):
            engine.forwards.chosen[None] = compiled_if_it_pays(engine, engine.classifier.logits, 2)
        torch.testing.assert_close(engine.gradients(images, classes).gradient, expected)


def test_memory_that_runs_out_in_a_library_is_no_reason_not_to_compile(monkeypatch) -> None:
    def without_room(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(compiling, "compiled", lambda *_: without_room)
    with (
        Engine(classifier(8), device="cpu", planned_passes=10**12) as engine,
        pytest.raises(RuntimeError, match="ALLOC_FAILED"),  # fewer images are tried
    ):
        compiled_if_it_pays(engine, engine.classifier.logits, 2)
