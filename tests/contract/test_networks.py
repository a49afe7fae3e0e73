"""Any convolutional network is mapped as it comes: however its layers are written, and it is given back as it was."""

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.errors import JobsError
from tests.tiny import SHORT, SIDE


class Plain(nn.Module):
    """Two convolutions; subclasses write the rest in the ways that people do."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, pixels):
        return self.head(torch.relu(self.second(torch.relu(self.first(pixels)))).mean((2, 3)))


class OneActivationForAll(Plain):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, pixels):
        return self.head(self.relu(self.second(self.relu(self.first(pixels)))).mean((2, 3)))


class TiedLayers(Plain):
    def __init__(self):
        super().__init__()
        self.again = self.first

    def forward(self, pixels):
        return self.head(self.second(self.again(pixels)).mean((2, 3)))


class InPlace(Plain):
    def __init__(self):
        super().__init__()
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, pixels):
        return self.head(self.relu2(self.second(self.relu1(self.first(pixels)))).mean((2, 3)))


class DropsAndNormalises(Plain):
    def __init__(self):
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm2d(8)

    def forward(self, pixels):
        return self.head(self.drop(self.norm(self.second(self.first(pixels)))).mean((2, 3)))


NETWORKS = [
    Plain,
    TiedLayers,
    InPlace,
    DropsAndNormalises,
    OneActivationForAll,
]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_mapped_and_given_back_as_it_was(kind, dtype):
    torch.manual_seed(0)
    module = kind().to(dtype).train()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    (one,) = ph.map_concepts(ph.Classifier(module, size=SIDE), [2], overrides=SHORT, device="cpu")
    assert one.nu.abs().max() > 0
    assert one.xi.shape == (1, SIDE, SIDE)
    assert one.xi.min() == 0
    assert one.xi.max() == 1
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())
    for key, value in module.state_dict().items():
        assert value.dtype == state[key].dtype
        assert torch.equal(value, state[key]), key


class SeesNothingInTheMap(Plain):
    """Returns NaN for the map's image, which is sent alone and has the highest contrast."""

    def forward(self, pixels):
        answer = super().forward(pixels)
        return answer * float("nan") if len(pixels) == 1 and pixels.std() > 0.1 else answer


def test_nan_for_the_finished_map_is_named_too():
    torch.manual_seed(0)
    classifier = ph.Classifier(SeesNothingInTheMap(), size=SIDE, name="odd")
    with pytest.raises(JobsError, match="odd"):
        ph.map_concepts(classifier, [2], overrides=SHORT, device="cpu")
