"""Units of a network: the layers that have them, their activations, and what a map of one is."""

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.classifier import Classifier
from phosphene.engine.units import mean_activations
from phosphene.errors import CardError
from tests import tiny


class TestLayers:
    def test_are_listed_in_the_order_of_a_pass_with_shapes_and_units(self):
        found = ph.layers(tiny.classifier())
        assert [(one.name, one.kind, one.shape, one.units) for one in found[:4]] == [
            ("0", "Conv2d", (6, 16, 16), 6),
            ("1", "BatchNorm2d", (6, 16, 16), 6),
            ("2", "ReLU", (6, 16, 16), 6),
            ("3", "Conv2d", (8, 8, 8), 8),
        ]
        assert [(one.name, one.shape, one.units) for one in found[5:]] == [
            ("5", (8, 1, 1), 8),
            ("6", (8,), 8),
            ("7", (5,), 5),
        ]

    def test_leave_no_hook_behind_not_even_when_the_network_fails(self):
        class Fails(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = tiny.network()
                self.calls = 0

            def forward(self, x):
                self.calls += 1
                if self.calls > 1:
                    raise ZeroDivisionError
                return self.net(x)

        network = Fails()
        classifier = Classifier(network, size=16, output="logits")
        assert classifier.num_classes == 5
        with pytest.raises(ZeroDivisionError):
            ph.layers(classifier)
        assert not any(part._forward_hooks for part in network.modules())

    def test_scripted_networks_have_none_that_can_be_read(self):
        with pytest.warns(DeprecationWarning, match="torch.jit"):
            scripted = torch.jit.trace(tiny.network(), torch.rand(1, 3, 16, 16))
        with pytest.raises(CardError, match="no layer that can be read"):
            ph.layers(Classifier(scripted, size=16))


class TestMeanActivations:
    def test_average_over_positions_of_feature_maps_and_of_tokens(self):
        maps = torch.arange(24.0).view(1, 2, 3, 4)
        assert mean_activations(maps, (3, 4)).tolist() == [[5.5, 17.5]]
        tokens = torch.cat([torch.full((1, 1, 2), 99.0), torch.arange(18.0).view(1, 9, 2)], 1)
        assert mean_activations(tokens, (6, 6)).tolist() == [[8.0, 9.0]]

    def test_flat_outputs_are_their_own_and_others_have_none(self):
        assert mean_activations(torch.tensor([[1.0, 2.0]]), (3, 4)).tolist() == [[1.0, 2.0]]
        assert mean_activations(torch.tensor([[[[1.0]], [[2.0]]]]), (3, 4)).tolist() == [[1.0, 2.0]]
        for output in ((torch.rand(1, 2),), torch.tensor([[1, 2]]), torch.rand(3), torch.rand(1, 2, 7)):
            assert mean_activations(output, (3, 4)) is None
