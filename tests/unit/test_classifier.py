"""A classifier: its input space, its classes, its identity."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError
from phosphene.input_space import InputSpace
from tests import tiny


class Answering(nn.Module):
    """Answers with whatever it was given to answer with."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, pixels):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_pixels_are_normalised_on_the_way_in():
    seen = []
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 2))
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    pixels = torch.rand((2, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    Classifier(module, size=2, mean=mean, std=std).logits(pixels)
    expected = torch.stack([(pixels[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    torch.testing.assert_close(seen[-1], expected)  # before it, the network was asked for its kind of output


def test_a_classifier_that_was_first_used_in_inference_mode_has_gradients():
    classifier = tiny.classifier()
    with torch.inference_mode():
        assert "5 classes" in repr(classifier)
    pixels = torch.rand(1, 3, 16, 16, requires_grad=True)
    classifier.logits(pixels).sum().backward()
    assert pixels.grad.any()


def test_size_may_be_one_number_and_channels_follow_the_means():
    space = Classifier(nn.Identity(), size=7, mean=[0.0], std=[1.0]).input
    assert space == InputSpace((7, 7), (0.0,), (1.0,))
    assert space.channels == 1
    assert space.shape == (1, 7, 7)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_the_same_input_is_the_same_classifier_however_it_is_written(kind):
    usual = Classifier(nn.Identity(), size=(7, 5), mean=(0.0, 0.5, 1.0), std=(1.0, 2.0, 1.0))
    other = Classifier(nn.Identity(), size=kind([7, 5]), mean=kind([0, 0.5, 1]), std=kind([1, 2, 1]))
    assert other.sha256 == usual.sha256
    assert json.loads(json.dumps(asdict(other.input))) == json.loads(json.dumps(asdict(usual.input)))
    assert Classifier(nn.Identity(), size=np.int64(7)).input == InputSpace((7, 7))
    for wrong in ({"size": (16.5, 16)}, {"size": 7, "mean": ("a", "b", "c")}):
        with pytest.raises(CardError, match=r"input (size|mean) is .*; it must be a list of (whole )?numbers"):
            Classifier(nn.Identity(), **wrong)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"size": (16,)}, "size"),
        ({"size": (16, 0)}, "size"),
        ({"size": (16, 16), "mean": ()}, "mean has 0 values"),
        ({"size": (16, 16), "mean": (0.5,)}, "mean has 1 values and std has 3"),
        ({"size": (16, 16), "std": (1.0, 0.0, 1.0)}, "std"),
        ({"size": (16, 16), "std": (1.0, float("nan"), 1.0)}, "std"),
        ({"size": (16, 16), "std": (1.0, float("inf"), 1.0)}, "std"),
        ({"size": (16, 16), "mean": (float("nan"), 0.0, 0.0)}, "mean"),
        (
            {"size": (16, 16), "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
            r"divide by 255, mean \[0\.485, 0\.456, 0\.406\] and std \[0\.229, 0\.224, 0\.225\]",
        ),
        ({"size": (16, 16), "mean": (103.939, 116.779, 123.68)}, r"divide by 255.* std \[0\.003922, "),
        ({"size": (16, 16), "std": (255.0,) * 3}, r"divide by 255.* std \[1\.0, 1\.0, 1\.0\]"),
        ({"size": (16, 16), "mean": (0.5,) * 3, "std": (51.0,) * 3}, r"divide by 255, mean \[0\.5, .* std \[0\.2, "),
    ],
)
def test_input_spaces_that_make_no_sense_are_refused(space, says):
    with pytest.raises(CardError, match=says):
        InputSpace(**space)


@pytest.mark.parametrize(
    "answer",
    [
        *(torch.zeros(5), torch.zeros(1, 0), torch.zeros(2, 5), torch.zeros(1, 5, 2, 1)),
        *(None, "five", {}, {"logits": torch.zeros(5)}, (torch.zeros(1, 5, 4, 4), torch.zeros(5))),
    ],
)
def test_answers_that_are_no_logits_are_refused(answer):
    with pytest.raises(CardError, match=r"network odd returns .*\(n, classes\)"):
        _ = Classifier(Answering(answer), size=4, name="odd").num_classes


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyError("no"), AttributeError("no"), AssertionError("no")])
def test_a_network_that_refuses_its_input_is_named(error):
    with pytest.raises(CardError, match=r"network odd refuses its declared input \(3, 4, 4\): .*no"):
        _ = Classifier(Answering(error), size=4, name="odd").num_classes


def test_weights_on_the_meta_device_are_named():
    with pytest.raises(
        CardError, match="weights of network tiny are on the meta device, without values: load them first"
    ):
        Classifier(tiny.network().to("meta"), size=tiny.SIDE, name="tiny")


@pytest.mark.parametrize("pixels", [torch.zeros(1, 3, 4, 4).byte(), torch.zeros(1, 1, 4, 4), np.zeros((1, 3, 4, 4))])
def test_what_are_no_pixels_is_refused(pixels):
    with pytest.raises(
        CardError, match=r"tiny takes pixels in \[0, 1\], a tensor of floats \(n, 3, h, w\), not (torch\.|ndarray)"
    ):
        tiny.classifier().logits(pixels)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_pixels_get_the_type_of_the_weights(dtype):
    pixels = torch.rand(
        (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float32, requires_grad=True
    )
    logits = Classifier(tiny.network().to(dtype), size=16).logits(pixels)
    torch.testing.assert_close(logits.float(), Classifier(tiny.network(), size=16).logits(pixels), rtol=0.05, atol=0.05)
    logits.sum().backward()
    assert pixels.grad.dtype == torch.float32


def test_a_network_for_grey_images_is_told_where_the_number_of_channels_comes_from():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        CardError,
        match=r"1 channels, but got 3 .*; for 1-channel images, give mean and std one value per channel, 1 each",
    ):
        _ = Classifier(net, size=8).num_classes
    assert Classifier(net, size=8, mean=[0.5], std=[0.5]).num_classes == 4


def test_a_network_that_has_other_classes_now_is_refused():
    """On a GPU, the index of a class that is no more would end the process."""
    one = tiny.classifier()
    assert one.num_classes == 5
    one.module[7] = nn.Linear(8, 3)
    with pytest.raises(CardError, match="tiny had 5 classes and has 3 now: make a Classifier anew"):
        one.logits(torch.zeros(1, 3, tiny.SIDE, tiny.SIDE))


def test_asking_for_the_classes_leaves_every_mode_as_it_was():
    module = tiny.network().train()
    module[1].eval()
    before = {name: (part.training, part.weight.clone()) for name, part in module.named_modules() if name == "1"}
    statistics = module[1].running_mean.clone()
    assert Classifier(module, size=16).num_classes == 5
    assert module.training
    assert module[0].training
    assert not module[1].training
    assert torch.equal(module[1].running_mean, statistics)
    assert torch.equal(before["1"][1], module[1].weight)


def test_modes_are_restored_when_the_network_refuses():
    module = nn.Sequential(nn.Dropout(), Answering(RuntimeError("no"))).train()
    with pytest.raises(CardError):
        _ = Classifier(module, size=4).num_classes
    assert module.training
    assert module[0].training


def test_identity_is_weights_and_input_and_nothing_else():
    base = tiny.classifier().sha256
    assert tiny.classifier(name="other", spec="other", labels=None).sha256 == base
    assert tiny.classifier(seed=1).sha256 != base
    assert tiny.classifier(mean=(0.4, 0.5, 0.5)).sha256 != base
    assert tiny.classifier(size=17).sha256 != base


def test_identity_sees_an_output_that_is_read_otherwise_than_detected():
    """A card that `phosphene card` writes declares what was detected, and is the same network."""
    base = tiny.classifier()
    assert tiny.classifier(output=base.output).sha256 == base.sha256
    others = {
        tiny.classifier(output=kind, labels=None).sha256 for kind in ("multi-label", "regression", "probabilities")
    }
    assert len({base.sha256, *others}) == 4


def test_identity_sees_one_changed_bit_and_the_type():
    changed, half = tiny.classifier(), tiny.classifier()
    with torch.no_grad():
        changed.module[7].bias[0] += 1e-6
    half.module.half()
    assert len({tiny.classifier().sha256, changed.sha256, half.sha256}) == 3
