"""Kinds of network output are detected, noted for the user, and converted to logits with the same probabilities."""

import copy
import types

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.errors import CardError
from phosphene.outputs import KINDS, detect_kind, to_logits
from tests import tiny


class Ends(nn.Module):
    """The tiny network with another end."""

    def __init__(self, end, classes=5):
        super().__init__()
        self.body, self.end, self.classes = tiny.network(), end, classes

    def forward(self, pixels):
        return self.end(self.body(pixels)[:, : self.classes])


ENDS = {
    "logits": Ends(nn.Identity()),
    "probabilities": Ends(nn.Softmax(1)),
    "log-probabilities": Ends(nn.LogSoftmax(1)),
    "logit": Ends(nn.Identity(), 1),
    "probability": Ends(nn.Sigmoid(), 1),
}


def images():
    return torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_kinds_are_detected_and_noted(kind, dtype):
    module = copy.deepcopy(ENDS[kind]).to(dtype)
    found = ph.Classifier(module, size=16)
    assert found.output == kind
    assert found.notes == ((KINDS[kind],) if KINDS[kind] else ())
    assert found.num_classes == (2 if kind in ("logit", "probability") else 5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_logits_have_the_probabilities_that_the_network_means(kind):
    found = ph.Classifier(ENDS[kind], size=16)
    raw = tiny.network()(images())
    meant = torch.stack([1 - raw[:, 0].sigmoid(), raw[:, 0].sigmoid()], 1) if found.num_classes == 2 else raw.softmax(1)
    torch.testing.assert_close(found.logits(images()).softmax(1), meant)


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_is_mapped(kind):
    (one,) = ph.map_concepts(ph.Classifier(ENDS[kind], size=16), [1], overrides=tiny.SHORT, device="cpu")
    assert one.nu.abs().max() > 0


def test_two_classes_of_one_output_have_names_or_get_some():
    named = ph.Classifier(ENDS["logit"], size=16, labels=["healthy", "ill"])
    assert list(named.labels) == ["healthy", "ill"]
    assert list(ph.Classifier(ENDS["logit"], size=16).labels) == ["negative", "positive"]
    with pytest.raises(CardError, match="2 classes, and its label file has 1"):
        _ = ph.Classifier(ENDS["logit"], size=16, labels=["ill"]).labels


class Squeezes(Ends):
    def forward(self, pixels):
        return super().forward(pixels).squeeze()


def test_one_output_may_come_without_a_dimension():
    found = ph.Classifier(Squeezes(nn.Identity(), 1), size=16)
    assert found.output == "logit"
    assert found.logits(images()).shape == (4, 2)


class InAnObject(Ends):
    def forward(self, pixels):
        return types.SimpleNamespace(logits=super().forward(pixels), loss=None)


def test_an_object_with_logits_is_accepted():
    found = ph.Classifier(InAnObject(nn.Identity()), size=16)
    torch.testing.assert_close(found.logits(images()), tiny.network()(images()))


def test_a_declared_kind_is_not_detected():
    told = ph.Classifier(ENDS["probabilities"], size=16, output="logits")
    assert told.notes == ()
    assert told.logits(images()).sum(1).allclose(torch.ones(4))


@pytest.mark.parametrize(("end", "output"), [("logits", "probability"), ("logit", "probabilities")])
def test_a_declared_kind_must_fit(end, output):
    with pytest.raises(CardError, match=f"cannot be {output}"):
        _ = ph.Classifier(ENDS[end], size=16, output=output).num_classes


def test_unknown_kinds_are_refused():
    with pytest.raises(CardError, match="Did you mean probabilities"):
        ph.Classifier(ENDS["logits"], size=16, output="probabilites")


def test_logits_that_sum_to_one_by_chance_are_logits():
    assert detect_kind([torch.tensor([[0.3, 0.7]]), torch.tensor([[0.2, 0.9]])]) == "logits"
    assert detect_kind([torch.tensor([[0.3]]), torch.tensor([[1.2]])]) == "logit"


def test_probabilities_of_nought_stay_finite():
    assert to_logits(torch.tensor([[0.0, 1.0]]), "probabilities").isfinite().all()
    assert to_logits(torch.tensor([[1.0]]), "probability").isfinite().all()


def test_an_answer_is_asked_for_once_where_logits_are_plain():
    asked = []
    module = tiny.network()
    module.register_forward_hook(lambda *_: asked.append(1))
    assert ph.Classifier(module, size=16).output == "logits"
    assert len(asked) == 1


def test_an_input_of_too_many_values_is_refused_before_memory_is_allocated():
    with pytest.raises(CardError, match="more than 67,108,864 values"):
        ph.Classifier(nn.Identity(), size=10**6)
