"""Kinds of network output are detected, noted for the user, and converted to logits with the same probabilities."""

import copy
import math
import types

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.concepts import Sides
from phosphene.engine.losses import log_odds
from phosphene.engine.targets import targets_of, virtual_logits
from phosphene.errors import CardError, ConceptError
from phosphene.outputs import MULTI_LABEL, OUTPUT_KINDS, REGRESSION, detect_kind, parse_output, to_logits, write_output
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
    "multi-label": Ends(nn.Identity()),
    "multi-label-probabilities": Ends(nn.Sigmoid()),
    "regression": Ends(nn.Identity()),
}
DETECTED = [
    kind for kind in OUTPUT_KINDS if kind not in ("multi-label", REGRESSION)
]  # which look like logits, and are declared


def images():
    return torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", DETECTED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_kinds_are_detected_and_noted(kind, dtype):
    module = copy.deepcopy(ENDS[kind]).to(dtype)
    found = ph.Classifier(module, size=16)
    assert found.output == kind
    assert found.notes == ((OUTPUT_KINDS[kind],) if OUTPUT_KINDS[kind] else ())
    assert found.num_classes == (2 if kind in ("logit", "probability") else 5)


@pytest.mark.parametrize("kind", [kind for kind in OUTPUT_KINDS if kind not in (*MULTI_LABEL, REGRESSION)])
def test_logits_have_the_probabilities_that_the_network_means(kind):
    found = ph.Classifier(ENDS[kind], size=16)
    raw = tiny.network()(images())
    meant = torch.stack([1 - raw[:, 0].sigmoid(), raw[:, 0].sigmoid()], 1) if found.num_classes == 2 else raw.softmax(1)
    torch.testing.assert_close(found.logits(images()).softmax(1), meant)


@pytest.mark.parametrize("kind", list(OUTPUT_KINDS))
def test_each_kind_is_mapped(kind):
    (one,) = ph.map_concepts(ph.Classifier(ENDS[kind], size=16), [1], overrides=tiny.SHORT, device="cpu")
    assert one.nu.abs().max() > 0


def test_two_classes_of_one_output_have_names_or_get_some():
    named = ph.Classifier(ENDS["logit"], size=16, labels=["healthy", "ill"])
    assert list(named.labels) == ["healthy", "ill"]
    assert list(ph.Classifier(ENDS["logit"], size=16).labels) == ["negative", "positive"]
    with pytest.raises(
        CardError,
        match="2 classes, and labels were given for 1: give one per class, two for one output, negative first",
    ):
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


def test_what_one_output_can_be_is_said():
    with pytest.raises(
        CardError,
        match=r"has 1 .* cannot be multi-label: leave output out, or declare logit, probability or regression",
    ):
        _ = ph.Classifier(ENDS["logit"], size=16, output="multi-label").num_classes
    with pytest.raises(
        CardError, match=r"has 5 .* cannot be logit: leave output out, or declare logits, .* or regression"
    ):
        _ = ph.Classifier(ENDS["logits"], size=16, output="logit").num_classes


def test_unknown_kinds_are_refused():
    with pytest.raises(CardError, match="Did you mean probabilities"):
        _ = ph.Classifier(ENDS["logits"], size=16, output="probabilites").num_classes


def test_logits_that_sum_to_one_by_chance_are_logits():
    far = [torch.tensor([[-3.0, 2.0]])]
    assert detect_kind([torch.tensor([[0.3, 0.7]]), torch.tensor([[0.2, 0.9]])], far) == "logits"
    assert detect_kind([torch.tensor([[0.3]]), torch.tensor([[1.2]])]) == "logit"


def test_probabilities_of_nought_stay_finite():
    assert to_logits(torch.tensor([[0.0, 1.0]]), "probabilities").isfinite().all()
    assert to_logits(torch.tensor([[1.0]]), "probability").isfinite().all()


def test_a_network_is_run_twice_where_logits_are_plain():
    asked = []
    module = tiny.network()
    module.register_forward_hook(lambda *_: asked.append(1))
    assert ph.Classifier(module, size=16).output == "logits"
    assert len(asked) == 2  # the second run shows whether it is random


def test_an_input_of_too_many_values_is_refused_before_memory_is_allocated():
    with pytest.raises(CardError, match="more than 67,108,864 values"):
        ph.Classifier(nn.Identity(), size=10**6)


# --- independent outputs


@pytest.mark.parametrize("kind", MULTI_LABEL)
def test_independent_outputs_have_probabilities_of_their_own(kind):
    found = ph.Classifier(ENDS[kind], size=16, output=kind, labels=tiny.LABELS)
    assert found.multi_label
    raw = tiny.network()(images())
    torch.testing.assert_close(found.logits(images()), raw, rtol=1e-4, atol=1e-4)
    maps = ph.map_concepts(found, ["lion", "4", "lion + 4", "lion vs 4"], overrides=tiny.SHORT, device="cpu")
    z = found.logits(torch.stack([one.pixels for one in maps])).detach().double()
    meant = [z[0, 0].sigmoid(), z[1, 4].sigmoid(), (z[2, 0].exp() + z[2, 4].exp()), (z[3, 0] - z[3, 4]).sigmoid()]
    meant[2] = meant[2] / (1 + meant[2])
    assert [one.p_class for one in maps] == pytest.approx([float(p) for p in meant], abs=1e-5)
    score = ph.score(maps[:2], found, device="cpu")[0]
    assert [one.right for one in score.per_concept] == [int(one.p_class > 0.5) for one in maps[:2]]
    assert score.p_class == pytest.approx(sum(one.p_class for one in maps[:2]) / 2, abs=1e-5)


def test_the_loss_of_an_independent_output_does_not_push_the_others_down():
    found = ph.Classifier(ENDS["multi-label"], size=16, output="multi-label")
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    targets = targets_of([Sides((2,))] * 3, 5, multi_label=found.multi_label)
    (slope,) = torch.autograd.grad(log_odds(*virtual_logits(logits, targets)).sum(), logits)
    torch.testing.assert_close(slope, -torch.eye(5)[2].expand(3, 5))


def test_constant_outputs_and_sums_of_one_are_no_independent_probabilities():
    assert detect_kind([torch.tensor([[0.2, 0.3]])] * 4) == "logits"
    assert detect_kind([torch.tensor([[0.2, 0.3]]), torch.tensor([[0.4, 0.3]])]) == "multi-label-probabilities"
    assert detect_kind([torch.tensor([[0.2, 0.8]]), torch.tensor([[0.4, 0.6]])]) == "probabilities"
    assert detect_kind([torch.tensor([[0.2, 0.8]]), torch.tensor([[0.4, 0.3]])]) == "multi-label-probabilities"
    bounded = [torch.tensor([[0.2, 0.3]]), torch.tensor([[0.4, 0.3]])]
    assert detect_kind(bounded, [torch.tensor([[7.0, 0.1]])]) == "logits"
    assert detect_kind(bounded, [torch.tensor([[math.nan, 0.1]])]) == "multi-label-probabilities"


def side_by_side(*levels):
    return torch.cat([torch.tensor([level]).softmax(1) for level in levels], 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_softmaxes_side_by_side_are_no_independent_probabilities(dtype):
    outputs = [side_by_side([0.1, 0.2 * image], [0.3, 0.1, -image], [image, 0.0]).to(dtype) for image in range(4)]
    with pytest.raises(
        CardError, match=r'sum is 3 .*"\[0:2\]" or output = "\[2:5\]" or output = "\[5:7\]"; if they are indep'
    ):
        detect_kind(outputs)
    never = [side_by_side([0.1, image, -90.0], [0.3, -image]).to(dtype) for image in range(4)]
    with pytest.raises(CardError, match=r'sum is 2 .*choose one, such as output = "\[3:7\]"'):
        detect_kind(never)  # the third class may be of either level
    assert detect_kind([*outputs, outputs[0] * 0.9]) == "multi-label-probabilities"
    assert detect_kind(outputs[:1] * 4) == "logits"


def test_an_output_is_written_as_it_is_read():
    for declared in (
        "auto",
        "logits",
        "out",
        "0:logits",
        "[3:7]",
        "[3:]:multi-label",
        "out[0:4]:probabilities",
        "1[2:]",
    ):
        which, part, kind = parse_output(declared)
        assert parse_output(write_output(which, part, kind)) == (which, part, kind)
    assert parse_output("[:4]") == (None, slice(0, 4), "auto")
    assert parse_output(1) == (1, None, "auto")


def test_pairs_that_a_network_confuses_need_classes_that_exclude_each_other():
    found = ph.Classifier(ENDS["multi-label-probabilities"], size=16, name="many")
    with pytest.raises(ConceptError, match="many has independent outputs, so it confuses no pairs"):
        ph.map_models([found], confused=1, samples="synthetic:noise", progress=False)
