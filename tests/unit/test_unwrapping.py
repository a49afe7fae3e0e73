"""Modules as people hold them: wrappers come off, one output is chosen of several, and what has no gradient is refused by name."""

import copy
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

import phosphene as ph
from phosphene.classifier import UNREPEATABLE_NOTE
from phosphene.errors import CardError, PhospheneError
from phosphene.sources.card import card_files
from tests import tiny
from tests.unit.test_exported import HalfInside, export


class Both(NamedTuple):
    features: torch.Tensor
    scores: torch.Tensor


@dataclass
class Fields:
    features: torch.Tensor
    scores: torch.Tensor


MAPPED = {"overrides": tiny.SHORT, "device": "cpu", "progress": False}


class Ends(nn.Module):
    """The tiny network with another forward pass."""

    def __init__(self, forward):
        super().__init__()
        self.net, self.run = tiny.network(), forward

    def forward(self, pixels):
        return self.run(self.net, pixels)


def images():
    return torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))


def quietly(make, *words):
    with warnings.catch_warnings(action="ignore"):  # torch calls half of these deprecated
        return make(*words)


WRAPPERS = {
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "compiled in parallel": lambda net: nn.DataParallel(torch.compile(net)),
    "scripted": torch.jit.script,
    "traced": lambda net: torch.jit.trace(net, images()),
    "frozen": lambda net: torch.jit.freeze(torch.jit.script(net.eval())),
    "a script inside": lambda net: nn.Sequential(torch.jit.script(net)),
}


@pytest.mark.parametrize("name", list(WRAPPERS))
def test_wrappers_come_off(name):
    found = ph.Classifier(quietly(WRAPPERS[name], tiny.network()), size=16)
    torch.testing.assert_close(found.logits(images()), tiny.network()(images()))
    plain = tiny.SHORT | {"statistics": 0}  # TorchScript's layers cannot be read
    (made, own) = (
        ph.map_concepts(one, [1], **MAPPED | {"overrides": plain})[0]
        for one in (found, ph.Classifier(tiny.network(), size=16))
    )
    torch.testing.assert_close(made.nu, own.nu, atol=1e-4, rtol=1e-3)


def test_a_function_is_no_module():
    with pytest.raises(CardError, match=r"a torch\.nn\.Module, not a function"):
        ph.Classifier(lambda pixels: pixels, size=16)


def test_a_scripted_head_leaves_the_layers_of_a_network_their_names():
    network = tiny.network()
    network[-1] = quietly(torch.jit.script, network[-1])
    found = ph.Classifier(network, size=16)
    assert found.module is network
    assert ph.map_concepts(found, ["unit:3:1"], **MAPPED)[0].nu.abs().max() > 0


CHOSEN = {
    "tuple": (lambda net, x: (net[:5](x), net(x)), 1),
    "dictionary": (lambda net, x: {"features": net[:5](x), "out": net(x)}, "out"),
    "named tuple": (lambda net, x: Both(net[:5](x), net(x)), "scores"),
    "dataclass": (lambda net, x: Fields(net[:5](x), net(x)), "scores"),
    "key": (lambda net, x: {"aux": net(x), "logits": net(x)}, "logits"),
    "a number beside it, by the labels": (lambda net, x: {"out": net(x), "age": net(x)[:, :1]}, "out"),
    "by the labels": (lambda net, x: (net[:7](x), net(x)), 1),
}


@pytest.mark.parametrize("name", list(CHOSEN))
def test_the_only_output_that_can_be_logits_is_chosen_and_said(name):
    forward, which = CHOSEN[name]
    found = ph.Classifier(Ends(forward), size=16, labels=tiny.LABELS)
    torch.testing.assert_close(found.logits(images()), tiny.network()(images()))
    assert found.notes == (f"of several outputs, {which!r} is used as logits",)
    assert found.card_output == f"{which}:logits"
    assert found.sha256 != ph.Classifier(found.module, size=16, output="0" if which == 1 else "features").sha256


@pytest.mark.parametrize(
    "forward", [lambda net, x: [net(x)], lambda net, x: net(x)[:, :, None, None], lambda net, x: net(x)[:, None]]
)
def test_a_list_of_one_output_and_an_output_per_place_are_the_logits(forward):
    found = ph.Classifier(Ends(forward), size=16)
    torch.testing.assert_close(found.logits(images()), tiny.network()(images()))
    assert found.notes == ()


def auxiliary(net, pixels):
    return {"out": net(pixels).softmax(1), "aux": -net(pixels)}


def test_of_several_that_can_be_logits_one_has_to_be_named():
    with pytest.raises(CardError, match=r"'out': \(1, 5\), 'aux': \(1, 5\)\); choose .* output = 'out'"):
        _ = ph.Classifier(Ends(auxiliary), size=16).num_classes
    for declared in ("out", "out:probabilities"):
        found = ph.Classifier(Ends(auxiliary), size=16, output=declared)
        assert found.output == "probabilities"
        torch.testing.assert_close(found.logits(images()).softmax(1), tiny.network()(images()).softmax(1))
    for declared in ("ou", 7, "7:logits"):
        with pytest.raises(CardError, match=r"'out': .*output = 'out'"):
            _ = ph.Classifier(Ends(auxiliary), size=16, output=declared).num_classes


@pytest.mark.parametrize(
    ("forward", "listed", "choices"),
    [
        (
            lambda net, x: {"features": net[:7](x), "score": net(x)[:, :1]},
            r"'features': \(1, 8\)",
            "'features' or 'score'",
        ),
        (lambda net, x: (net(x)[:, :1], net[:7](x)), r"1: \(1, 8\)", "0 or 1"),
        (lambda net, x: (net[:7](x), net(x)), r"1: \(1, 5\)", "0 or 1"),
    ],
)
def test_features_beside_an_output_are_not_taken_for_it(forward, listed, choices):
    with pytest.raises(CardError, match=rf"several outputs \(.*{listed}.*output = {choices}"):
        _ = ph.Classifier(Ends(forward), size=16).num_classes


def test_the_one_output_of_a_network_with_feature_maps_is_found():
    found = ph.Classifier(Ends(lambda net, x: {"features": net[:5](x), "score": net(x)[:, :1]}), size=16)
    assert list(found.labels) == ["negative", "positive"]
    assert found.notes[0] == "of several outputs, 'score' is used as logits"


@pytest.mark.parametrize("declared", ["logit s", 1, "out:logits"])
def test_one_output_is_not_named(declared):
    with pytest.raises(CardError, match=r"returns one tensor, and output .* use auto, logits"):
        _ = tiny.classifier(output=declared).num_classes


@pytest.mark.parametrize("declared", ["output = 1\n", 'output = "1"\n', 'output = "1:logits"\n'])
def test_a_card_names_the_output(card, declared):
    body = tiny.FACTORY.replace("    return nn.Sequential(", "    return Two(").replace(
        "def tiny",
        "class Two(nn.Sequential):\n    def forward(self, x):\n        y = super().forward(x)\n        return -y, y\n\n\ndef tiny",
    )
    (card.folder / "nets.py").write_text(body, encoding="utf-8")
    card.path.write_text(declared + card.path.read_text(encoding="utf-8"), encoding="utf-8")
    found = ph.load(card.path, trust=True)
    own = tiny.classifier()
    torch.testing.assert_close(found.logits(images()), own.logits(images()))
    written = card_files(found, card.folder / "new.toml", card.folder / "new.safetensors")
    for file, data in written.items():
        file.write_bytes(data)
    assert 'output = "1:logits"' in (card.folder / "new.toml").read_text(encoding="utf-8")
    assert ph.load(card.folder / "new.toml", trust=True).sha256 == found.sha256


@pytest.mark.parametrize(
    ("file", "batch"), [("a.pt2", 2), ("b.pt2", None), ("c.ts", None), ("d.onnx", None), ("e.onnx", 2)]
)
@pytest.mark.filterwarnings("ignore:.*no layer whose features can be read")
def test_exported_networks_with_several_outputs(tmp_path, file, batch):
    network = Ends(lambda net, x: (net[:5](x), net(x)))
    found = ph.load(export(tmp_path / file, batch, network), trust=True)
    assert found.notes[-1] == "of several outputs, 1 is used as logits"
    torch.testing.assert_close(found.logits(images()), tiny.classifier().logits(images()))
    (made,) = ph.map_concepts(found, [1], **MAPPED)
    assert made.nu.abs().max() > 0


def quantised(net):
    return quietly(lambda: torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, dtype=torch.qint8))


WITHOUT_GRADIENT = {
    "no_grad": (Ends(torch.no_grad()(lambda net, x: net(x))), r"runs under torch\.no_grad"),
    "inference mode": (Ends(torch.inference_mode()(lambda net, x: net(x))), r"runs under torch\.no_grad"),
    "detached": (Ends(lambda net, x: net[4:](net[:4](x).detach())), r"what layer 'net\.4' \(ReLU\) takes is detached"),
    "numpy": (Ends(lambda net, x: torch.from_numpy(net(x).detach().numpy())), "its own forward passes none on"),
    "argmax": (Ends(lambda net, x: net(x).argmax(1)), r"returns torch\.int64: return the logits"),
    "one-hot": (Ends(lambda net, x: functional.one_hot(net(x).argmax(1), 5).float()), "its own forward passes none on"),
    "rounded": (Ends(lambda net, x: net((x * 255).round() / 255)), r"gradient of exactly zero .* it rounds"),
    "quantised": (None, r"layer '7' \(Linear\) is quantised"),
}


@pytest.mark.parametrize("name", list(WITHOUT_GRADIENT))
def test_networks_without_a_gradient_are_refused_by_the_cause(name):
    module, says = WITHOUT_GRADIENT[name]
    with pytest.raises(CardError, match=f"network classifier .*{says}") as error:
        ph.map_concepts(ph.Classifier(module or quantised(tiny.network()), size=16), [1], **MAPPED)
    assert "\n" not in str(error.value)


def test_a_quantised_script_is_refused_as_such():
    script = quietly(lambda: torch.jit.script(quantised(tiny.network())))
    with pytest.raises(CardError, match="has no gradient: it is quantised"):
        ph.map_concepts(ph.Classifier(script, size=16), [1], **MAPPED)


def test_a_module_of_torch_export_that_cannot_be_evaluated_is_refused_with_the_way():
    program = quietly(lambda: torch.export.export(tiny.network(), (images(),)))
    module = quietly(program.module)
    with pytest.raises(CardError, match=r"give torch\.export\.unflatten\(program\)"):
        ph.Classifier(module, size=16)
    found = ph.Classifier(quietly(lambda: torch.export.unflatten(program)), size=16)
    torch.testing.assert_close(found.module(images()), tiny.network()(images()))


def test_a_quantised_network_has_an_identity_of_its_weights():
    first, again, other = (ph.Classifier(quantised(tiny.network(seed)), size=16).sha256 for seed in (0, 0, 1))
    assert first == again != other


def test_a_network_without_a_gradient_still_scores():
    found = ph.Classifier(WITHOUT_GRADIENT["no_grad"][0], size=16)
    torch.testing.assert_close(found.logits(images()), tiny.network()(images()))


@pytest.mark.parametrize(
    "forward",
    [lambda net, x: net(x + 0.1 * torch.randn_like(x)), lambda net, x: net(functional.dropout(x))],
)
def test_a_random_forward_pass_is_said(forward):
    assert ph.Classifier(Ends(forward), size=16).notes == (UNREPEATABLE_NOTE,)


def test_nested_outputs_and_mixed_types_name_the_fix():
    with pytest.raises(CardError, match=r"returns dict; logits of shape .* are needed: have forward return them"):
        _ = ph.Classifier(Ends(lambda net, x: {"out": {"logits": net(x)}}), size=16).num_classes
    with pytest.raises(CardError, match=r"casts to another type itself: leave the cast out, call \.float\(\)"):
        ph.map_concepts(ph.Classifier(HalfInside(), size=16), [1], **MAPPED)


def test_a_network_without_a_place_for_xi_says_what_has_one():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    with pytest.raises(
        PhospheneError, match=r"no module of the network gives a spatial .*: use a network with convolutions"
    ):
        ph.map_concepts(ph.Classifier(flat, size=16), [1], **MAPPED)
