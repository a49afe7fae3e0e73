"""Which outputs of a module are spatial activations, and where in the image each value lies."""

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.engine import Engine
from phosphene.spatial_activation import as_spatial_activation
from phosphene.units import Unit
from tests.tiny import SHORT


@pytest.mark.parametrize(
    ("shape", "size", "grid"),
    [
        ((2, 8, 7, 7), (224, 224), (2, 8, 7, 7)),
        ((2, 8, 7, 5), (224, 160), (2, 8, 7, 5)),
        ((2, 7, 7, 768), (224, 224), (2, 768, 7, 7)),  # channels last, as in Swin
        ((2, 7, 5, 768), (224, 160), (2, 768, 7, 5)),
        ((2, 8, 8, 8), (64, 64), (2, 8, 8, 8)),
        ((2, 8, 1, 9), (16, 64), (2, 8, 1, 9)),  # odd, but feature maps
        ((2, 197, 192), (224, 224), (2, 192, 14, 14)),  # class token
        ((2, 198, 192), (224, 224), (2, 192, 14, 14)),  # and distillation token
        ((2, 201, 192), (224, 224), (2, 192, 14, 14)),  # and four registers
        ((2, 49, 192), (224, 224), (2, 192, 7, 7)),
        ((2, 5, 192), (32, 32), (2, 192, 2, 2)),
        ((2, 141, 192), (224, 160), (2, 192, 14, 10)),
        ((2, 141, 192), (160, 224), (2, 192, 10, 14)),
        ((2, 512, 1, 1), (224, 224), None),
        ((2, 1, 1, 512), (32, 32), None),
        ((2, 64, 1), (64, 64), None),  # pooled
        ((2, 2, 64), (64, 64), None),
        ((2, 75, 64), (224, 224), None),  # 64 and 11 more
        ((2, 10), (16, 16), None),
    ],
)
def test_shapes(shape, size, grid):
    found = as_spatial_activation(torch.zeros(shape), size)
    assert grid == (None if found is None else tuple(found.shape))


def test_tokens_land_where_their_patches_are():
    patches = torch.arange(12.0).view(1, 12, 1).expand(1, 12, 4)
    answer = torch.cat([torch.full((1, 2, 4), -1.0), patches], 1)
    found = as_spatial_activation(answer, (30, 40))
    assert found[0, 3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


class Transformer(nn.Module):
    """Patches, a class token, one block; the head reads the class token."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, pixels):
        tokens = self.patches(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        return self.head(self.norm(self.block(tokens))[:, 0])


def test_the_last_tokens_of_a_transformer_are_its_spatial_layer():
    torch.manual_seed(0)
    classifier = ph.Classifier(Transformer(), size=(16, 24))
    with Engine(classifier, device="cpu") as engine:
        assert engine.spatial_layer() == "norm"
        assert engine.activations(torch.rand(3, 3, 16, 24), "norm").shape == (3, 16, 4, 6)
        assert engine.spatial_layer("patches") == "patches"
    (one,) = ph.map_concepts(classifier, [1], overrides=SHORT, device="cpu")
    assert one.xi.shape == (1, 16, 24)
    assert one.xi.max() == 1


class SharedReLU(nn.Module):
    """A block as ResNet has them: one ReLU is called on 2 x 2 positions and on a single one."""

    def __init__(self):
        super().__init__()
        self.stem, self.stride = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 2, 2)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, pixels):
        return self.head(self.relu(self.stride(self.relu(self.stem(pixels)))).flatten(1))


def test_a_module_that_is_called_again_without_positions_is_spatial_all_the_same():
    torch.manual_seed(0)
    with Engine(ph.Classifier(SharedReLU(), size=16), device="cpu") as engine:
        assert engine.spatial_layer() == "relu"
        assert engine.activations(torch.rand(3, 3, 16, 16), "relu").shape == (3, 8, 2, 2)
        samples = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
        assert engine.with_units([Unit("relu", 0)], samples).logits(torch.rand(2, 3, 16, 16)).shape == (2, 4)


class Flattens(nn.Module):
    """A convolution whose 16 maps are flattened to (n, 16, 9): no grid of 16 tokens."""

    def __init__(self):
        super().__init__()
        self.maps, self.flat, self.head = nn.Conv2d(3, 16, 4, stride=4), nn.Flatten(2), nn.Linear(9, 3)

    def forward(self, pixels):
        return self.head(self.flat(self.maps(pixels))).mean(1)


def test_flattened_maps_are_not_taken_for_tokens():
    with Engine(ph.Classifier(Flattens(), size=12), device="cpu") as engine:
        assert engine.spatial_layer() == "maps"
