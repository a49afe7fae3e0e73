"""A compiled network answers as it does uncompiled, or one line says that it cannot be compiled."""

import pytest
import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import DeviceError

pytestmark = [
    pytest.mark.usefixtures("compiler"),
    pytest.mark.filterwarnings("ignore:.*is deprecated. Please switch to:DeprecationWarning"),  # torch's own modules
]


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
    with Engine(network, micro_batch=4) as eager, Engine(network, micro_batch=4, compile_network=True) as fast:
        for loss in ("cross-entropy", "log-odds"):
            expected, found = (engine.mean_gradients(samples, nu, classes, loss) for engine in (eager, fast))
            torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(found.loss, expected.loss)
            assert found.hits.equal(expected.hits)
        images, owners = samples[0] / 255, torch.tensor([1, 1, 2, 3, 4])
        slopes = fast.gradients(images, owners)
        torch.testing.assert_close(slopes.gradient, eager.gradients(images, owners).gradient, rtol=1e-4, atol=1e-6)


def test_without_a_compiler_one_line_says_so() -> None:
    from torch._inductor import config

    images = torch.rand(2, 3, 12, 12)
    with (
        config.patch({"cpp.cxx": ("/nowhere/c++",), "force_disable_caches": True}),
        Engine(classifier(7), compile_network=True) as engine,
        pytest.raises(DeviceError, match=r"cannot be compiled here: .*compiler") as said,
    ):
        engine.gradients(images, torch.tensor([0, 1]))
    assert "\n" not in str(said.value)
