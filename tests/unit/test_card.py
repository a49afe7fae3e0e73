"""Model cards: what they may hold, what does not fit, and that no foreign code runs unasked."""

import json
import os
import re
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene import sources
from phosphene.errors import CardError, PhospheneError, SpecError, TrustError, WeightsError
from tests import tiny
from tests.hostile import Bomb

SPACE = {"size": [16, 16], "mean": [0.5] * 3, "std": [0.25] * 3}


def load(card, *, trust=True):
    return sources.load(card.path, trust=trust)


def test_a_card_is_its_network_with_its_weights_input_and_labels(card):
    found = load(card)
    assert found.input.shape == (3, 16, 16)
    assert found.input.mean == (0.5,) * 3
    assert found.input.std == (0.25,) * 3
    assert tuple(found.labels) == tiny.LABELS
    assert found.name == "tiny"
    assert found.spec == str(card.path)
    assert not found.module.training
    assert found.sha256 == tiny.classifier().sha256
    pixels = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.logits(pixels), tiny.classifier().logits(pixels))


def test_card_prefix_and_path_are_the_same(card):
    assert sources.load(f"card:{card.path}", trust=True).sha256 == load(card).sha256


def test_half_precision_is_widened(half_card):
    found = load(half_card)
    assert {tensor.dtype for tensor in found.module.state_dict().values()} == {torch.float32, torch.int64}
    for key, value in tiny.network().state_dict().items():
        rounded = value.half().float() if value.is_floating_point() else value
        assert torch.equal(found.module.state_dict()[key], rounded), key


def test_what_a_card_may_leave_out(card):
    card.write(name=None, labels=None, weights=None, description="a line", input={"size": [16, 16], "channels": 3})
    found = load(card)
    assert found.name == "tiny"  # the file's name
    assert found.labels[4] == "class 4"
    assert found.input.mean == (0.0,) * 3
    assert found.input.std == (1.0,) * 3


def test_a_card_may_list_its_labels(card):
    card.write(labels=["a", "b, bee", "c", "d", "e"])
    assert load(card).labels.find("bee") == 1
    card.write(labels=["a", 1, "c", "d", "e"])
    with pytest.raises(CardError, match=r"the label of class 1 is 1 \(int\)"):
        load(card)


def test_paths_may_begin_with_the_home_folder(card, monkeypatch):
    monkeypatch.setenv("HOME", str(card.folder))
    card.write(factory="~/nets.py:tiny", weights="~/tiny.safetensors", labels="~/labels.txt")
    found = sources.load(f"~/{card.path.name}", trust=True)
    assert found.sha256 == tiny.classifier().sha256
    assert found.spec == str(card.path)
    (card.folder / "tiny.safetensors").rename(card.folder / "bare.safetensors")
    drafted = ph.card("~/bare.safetensors", factory="~/nets.py:tiny", labels="~/labels.txt", **SPACE, trust=True)
    assert drafted.classifier.sha256 == found.sha256


def test_a_label_file_that_cannot_be_read_is_named_once(card):
    (card.folder / "labels.txt").unlink()
    (card.folder / "labels.txt").mkdir()
    with pytest.raises(CardError, match=r"^label file \S*labels\.txt cannot be read: Is a directory$"):
        load(card)


def test_a_wrong_number_of_labels_names_the_file_and_what_it_begins_with(card):
    (card.folder / "labels.txt").write_text("# my labels\na\n\nb\nc\nd\n", encoding="utf-8")
    with pytest.raises(
        CardError,
        match=r"5 classes, and labels were given for 6, .*labels\.txt: the first is '# my labels',.* class 2 is blank: give one per class",
    ):
        load(card)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_the_input_of_bare_weights_may_be_given_as_any_sequence(card, kind):
    card.path.unlink()
    space = {"size": kind([16, 16]), "mean": kind([0.5] * 3), "std": kind([0.25] * 3)}
    factory = f"{card.folder / 'nets.py'}:tiny"
    made = ph.card(card.folder / "tiny.safetensors", factory=factory, trust=True, **space)
    assert made.classifier.input == tiny.classifier().input


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A module that can be imported from a folder of installed ones, away from the card and the working directory."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "installed_nets.py").write_text("from tests.tiny import network", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield "installed_nets:network"
    sys.modules.pop("installed_nets", None)


def test_of_installed_modules_those_that_only_build_networks_need_no_trust(card, installed):
    card.write(factory=installed)
    with pytest.raises(TrustError, match=r"installed_nets:network.*--trust"):
        load(card, trust=False)
    assert "installed_nets" not in sys.modules
    assert load(card, trust=True).sha256 == tiny.classifier().sha256
    card.write(factory="phosphene.demo.networks:PlainNet", weights=None, labels=None)
    assert load(card, trust=False).num_classes > 1


def test_code_that_a_run_names_needs_trust_as_a_card_s_does(tmp_path, installed):
    """Somebody else may have written run.json; its maps were made with trust, or with a name that was typed."""
    spec = installed.replace("network", "whole")
    (tmp_path / "site" / "installed_nets.py").write_text("from tests.tiny import classifier as whole", encoding="utf-8")
    ph.map_concepts(spec, [0], out=tmp_path / "run", overrides=tiny.SHORT, device="cpu", progress=False)
    with pytest.raises(TrustError, match=r"run would call installed_nets:whole.*--trust"):
        ph.check(tmp_path / "run", device="cpu", progress=False)
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    facts["model"]["spec"] += "#a photo of a {}"
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    sys.modules.pop("installed_nets", None)
    with pytest.raises(TrustError, match=r"run would call installed_nets:whole.*--trust"):
        ph.check(tmp_path / "run", device="cpu", progress=False)
    assert "installed_nets" not in sys.modules


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"factroy": "x.py:y"}, r"unknown field 'factroy'.*factory"),
        ({"zzz": 1}, r"unknown field 'zzz'"),
        ({"input": {**SPACE, "means": [0.5]}}, r"\[input\] has an unknown field 'means'.*mean"),
        ({"factory": None}, r"lacks 'factory', 'arch' or 'exported'"),
        ({"input": None}, r"lacks the table \[input\]"),
        ({"name": 3}, r"name is 3; it must be a string\."),
        ({"labels": 3}, r"labels is 3; it must be a string or a list\."),
        ({"input": "16"}, r"input is '16'; it must be a table"),
        ({"input": {"size": 16}}, r"size is 16; it must be a list"),
        ({"input": {"mean": [0.5] * 3}}, r"needs size = \[height, width\]"),
        ({"input": {"size": [16]}}, r"needs size = \[height, width\]"),
        ({"input": {"size": [16.0, 16.0]}}, r"needs size = \[height, width\]"),
        ({"input": {"size": ["16", "16"]}}, r"needs size = \[height, width\]"),
        ({"input": {"size": [0, 16]}}, r"size is \[0, 16\]"),
        ({"input": {"size": [-16, 16]}}, r"size is \[-16, 16\]"),
        ({"input": {**SPACE, "mean": ["half"] * 3}}, r"mean must be a list of numbers"),
        ({"input": {**SPACE, "mean": [True] * 3}}, r"mean must be a list of numbers"),
        ({"input": {**SPACE, "mean": [0.5, 0.5]}}, r"std must be a list of numbers, one per channel \(2\)"),
        ({"input": {**SPACE, "channels": 1}}, r"mean must be a list of numbers, one per channel \(1\)"),
        ({"input": {"size": [16, 16], "std": [0.5]}}, r"std must be a list of numbers, one per channel \(3\)"),
        ({"input": {**SPACE, "std": [0.5, 0.0, 0.5]}}, r"std is .*above 0"),
        ({"input": {**SPACE, "std": [0.5, float("nan"), 0.5]}}, r"std is .*finite"),
        ({"input": {**SPACE, "mean": [0.5, float("inf"), 0.5]}}, r"mean is .*finite"),
        ({"input": {"size": [16, 16], "channels": 0}}, r"channels is 0"),
        ({"input": {"size": [16, 16], "channels": -1}}, r"channels is -1"),
        ({"input": {"size": [16, 16], "channels": True}}, r"channels is True; it must be a whole number"),
        ({"input": {"size": [16, 16], "channels": 1}}, r"network tiny refuses its declared input \(1, 16, 16\)"),
        ({"labels": "none.txt"}, r"none\.txt does not exist"),
        ({"factory": "nets"}, r"must be file\.py:function or package\.module:function"),
        ({"factory": ":tiny"}, r"must be file\.py:function or package\.module:function"),
        ({"factory": "nets.py:"}, r"must be file\.py:function or package\.module:function"),
        ({"factory": "none.py:tiny"}, r"factory file .*none\.py does not exist"),
        ({"factory": "nets.py:tinny"}, r"no function 'tinny'.*tiny"),
        ({"factory": "no_such_module_here:net"}, r"no_such_module_here failed: ModuleNotFoundError"),
        ({"factory": "sys:exit"}, r"factory sys:exit failed: SystemExit"),
        ({"factory": "builtins:dict"}, r"returned a dict, not a torch\.nn\.Module"),
        ({"factory": "torch.nn:Conv2d"}, r"torch\.nn:Conv2d cannot be called, missing a required argument"),
    ],
)
def test_malformed_cards_are_refused(card, change, says):
    card.write(**change)
    with pytest.raises(CardError, match=says):
        load(card)


@pytest.mark.parametrize("text", [b"name = ", b"name = 'a'\nname = 'b'\n", b'name = "\xff"', b"\x00\x01", b"[input"])
def test_files_that_are_no_toml_are_refused(card, text):
    card.path.write_bytes(text)
    with pytest.raises(CardError, match=f"model card {re.escape(str(card.path))} cannot be read"):
        load(card)


def test_missing_cards_are_refused(tmp_path):
    with pytest.raises(CardError, match=r"none\.toml does not exist"):
        sources.load(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(CardError, match=r"folder\.toml cannot be read"):
        sources.load(tmp_path / "folder.toml")


def test_a_label_file_of_another_length_is_refused_with_both_counts(card):
    (card.folder / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(CardError, match="network tiny has 5 classes, and labels were given for 2"):
        load(card)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('broken here')", r"nets\.py failed: ValueError: broken here"),
        ("this is no python", r"nets\.py failed: SyntaxError"),
        ("import sys\nsys.exit(0)", r"nets\.py failed: SystemExit"),
        ("def tiny():\n    raise KeyError('k')", r"factory nets\.py:tiny failed: KeyError"),
        ("def tiny():\n    return 3", r"returned a int, not a torch\.nn\.Module"),
        ("tiny = 3", r"no function 'tiny'"),
    ],
)
def test_factories_that_fail_are_one_line(card, body, says):
    (card.folder / "nets.py").write_text(body, encoding="utf-8")
    with pytest.raises(CardError, match=says):
        load(card.write(weights=None))


def test_a_factory_may_use_dataclasses(card):
    """dataclasses look their module up in sys.modules, so a factory's module must stand there."""
    head = (
        "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass Sizes:\n    a: int = 6\n"
    )
    (card.folder / "nets.py").write_text(head + tiny.FACTORY.replace("from __future__", ""), encoding="utf-8")
    assert load(card).num_classes == 5


def test_two_factories_of_one_file_name_do_not_mix(tmp_path):
    first = tiny.make_card(tmp_path / "a")
    second = tiny.make_card(tmp_path / "b")
    (second.folder / "nets.py").write_text(tiny.FACTORY.replace("nn.Linear(8, 5)", "nn.Linear(8, 7)"), encoding="utf-8")
    second.write(weights=None, labels=None)
    assert (load(first).num_classes, load(second).num_classes, load(first).num_classes) == (5, 7, 5)


LAYERS = "from torch import nn\ndef head():\n    return nn.Linear(8, {classes})\n"
IMPORTS = {
    "at the top": "from layers import head",
    "relative": "from .layers import head",
    "in a package": "from blocks.layers import head",
    "in the function": "head = lambda: __import__('layers').head()",
    "in folders without files": "from source.nets.layers import head",
    "by a path of its own": "import sys; sys.path.insert(0, __file__[:-7] + 'source/nets'); from inner import head",
    "from the card's folder": "from blocks.layers import head",
    "from the folder above": "from ..layers import head",
}


@pytest.mark.parametrize("how", IMPORTS)
def test_a_factory_imports_what_lies_beside_it(tmp_path, monkeypatch, how):
    """Two folders hold different files of one name, and neither is importable afterwards."""
    factory = "blocks/nets.py:tiny" if how.startswith("from the") else "nets.py:tiny"
    line = IMPORTS[how]
    monkeypatch.setitem(sys.modules, "layers", sys)  # the caller's own module of this name
    before = set(sys.modules)
    for classes in (6, 7, 6):
        made = tiny.make_card(tmp_path / str(classes)).write(weights=None, labels=None)
        text = line + "\n" + tiny.FACTORY.replace("nn.Linear(8, 5)", "head()")
        (made.folder / "nets.py").write_text(text, encoding="utf-8")
        (made.folder / "blocks").mkdir(exist_ok=True)
        (made.folder / "source" / "nets").mkdir(exist_ok=True, parents=True)
        for name in ("layers.py", "blocks/layers.py", "source/nets/layers.py", "source/nets/inner.py"):
            (made.folder / name).write_text(LAYERS.format(classes=classes), encoding="utf-8")
        (made.folder / "blocks" / "nets.py").write_text(text, encoding="utf-8")
        made.write(factory=factory)
        assert load(made, trust=True).num_classes == classes
    assert sys.modules["layers"] is sys
    own = ("layers", "blocks", "nets", "source", "inner")
    assert not [name for name in set(sys.modules) - before if name.partition(".")[0] in own]
    assert not [place for place in sys.path if str(tmp_path) in place]


def test_an_import_in_the_forward_pass_is_refused_by_what_it_is(card):
    (card.folder / "layers.py").write_text("scale = 1.0", encoding="utf-8")
    late = "\nclass Late(nn.Module):\n    def forward(self, x):\n        from layers import scale\n        return x * scale\n"
    (card.folder / "nets.py").write_text(tiny.FACTORY + late, encoding="utf-8")
    card.write(factory="nets.py:Late", weights=None)
    with pytest.raises(CardError, match=r"imports in its forward pass .*'layers'"):
        load(card)


@pytest.mark.parametrize("module", ["own_package", "own_package.nets"])
def test_packages_of_one_name_beside_two_cards_do_not_mix(tmp_path, module):
    for classes in (6, 7, 6):
        made = tiny.make_card(tmp_path / str(classes))
        made.write(weights=None, labels=None, factory=f"{module}:tiny")
        package = made.folder / "own_package"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("from .nets import tiny", encoding="utf-8")
        text = tiny.FACTORY.replace("nn.Linear(8, 5)", f"nn.Linear(8, {classes})")
        (package / "nets.py").write_text(text, encoding="utf-8")
        assert load(made, trust=True).num_classes == classes
    assert not [name for name in sys.modules if name.startswith("own_package")]


def test_a_factory_file_needs_trust_and_leaves_no_mark_without(card):
    with pytest.raises(TrustError, match=r"nets\.py.*--trust"):
        load(card, trust=False)
    assert not card.mark.exists()
    load(card, trust=True)
    assert card.mark.exists()  # so the mark shows what it should


def test_a_module_that_lies_beside_the_card_needs_trust_too(card, monkeypatch):
    """``python -m phosphene`` and notebooks search the working directory: a downloaded folder would run its code."""
    monkeypatch.chdir(card.folder)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    (card.folder / "beside_the_card.py").write_text(tiny.FACTORY, encoding="utf-8")
    card.write(factory="beside_the_card:tiny")
    with pytest.raises(TrustError, match=r"beside_the_card.*--trust"):
        load(card, trust=False)
    assert not card.mark.exists()
    assert load(card, trust=True).num_classes == 5
    assert card.mark.exists()
    sys.modules.pop("beside_the_card")


@pytest.mark.parametrize("name", ["net.pyth", "net.th", "net.model", "net.pkl", "net.weights", "net"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_card_is_drafted_for_a_checkpoint_of_any_name(card, name, legacy):
    file = card.folder / name
    torch.save(card.state(), file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(SpecError, match=rf"phosphene card \S*{name} --arch .* drafts it"):
        sources.load(file)
    drafted = ph.card(file, factory=str(card.folder / "nets.py:tiny"), **SPACE, trust=True)
    assert drafted.classifier.module[0].weight.equal(tiny.network()[0].weight)


def test_a_card_is_drafted_for_torchscript_of_any_name(card):
    file = card.folder / "net.jit"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.trace(tiny.network(), torch.zeros(1, 3, 16, 16)), file)
    with pytest.raises(TrustError, match=r"net\.jit would run the TorchScript"):
        ph.card(file, **SPACE)
    drafted = ph.card(file, **SPACE, trust=True)
    pixels = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drafted.classifier.logits(pixels), tiny.classifier().logits(pixels))


@pytest.mark.parametrize("name", ["net.engine", "net.mlmodel", "net.npz", "net.pkl", "net"])
def test_a_file_of_another_kind_is_refused_with_what_to_export(card, name):
    np.savez(card.folder / "arrays.npz", weight=np.zeros(3))
    (card.folder / "arrays.npz").rename(card.folder / name)
    for call in (sources.load, lambda file: ph.card(file, factory="nets.py:tiny", size=16)):
        with pytest.raises(
            SpecError, match="has to be converted first: export the network as ONNX or TorchScript, or save"
        ):
            call(card.folder / name)


def test_a_damaged_archive_and_the_home_of_nobody_are_one_line(card):
    with zipfile.ZipFile(card.folder / "net.model", "w") as archive:
        archive.writestr("net/data.pkl", b"x")
    data = (card.folder / "net.model").read_bytes()
    (card.folder / "net.model").write_bytes(data.replace(b"PK\x01\x02", bytes(4)))
    for call in (sources.load, ph.card):
        for spec in (card.folder / "net.model", "~nobody-at-all/net.pt"):
            with pytest.raises(SpecError, match=r"there is no model"):
                call(spec)
    with pytest.raises(CardError, match=r"net\.model.* must be a file"):
        load(card.write(factory=None, weights=None, exported="net.model"))


def test_one_of_several_shards_names_their_index(card):
    (card.folder / "tiny.safetensors").rename(card.folder / "model-00001-of-00002.safetensors")
    with pytest.raises(WeightsError, match=r"give the index of all, .*model\.safetensors\.index\.json"):
        load(card.write(weights="model-00001-of-00002.safetensors"))
    (card.folder / "model-00001-of-00002.safetensors").rename(card.folder / "model-00001-of-00001.safetensors")
    assert load(card.write(weights="model-00001-of-00001.safetensors")).sha256 == tiny.classifier().sha256
    (card.folder / "model-00001-of-00001.safetensors").rename(card.folder / "fold-1-of-5.safetensors")
    assert load(card.write(weights="fold-1-of-5.safetensors")).sha256 == tiny.classifier().sha256


def test_weights_that_are_cut_off_are_to_be_downloaded_again(card):
    file = card.folder / "tiny.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(WeightsError, match="cut off or damaged: download it again"):
        load(card)


@pytest.mark.parametrize("factory", ["more.py:build", "nets.py:tiny(5)"])
def test_a_factory_with_arguments_is_refused_with_the_fix(card, factory):
    (card.folder / "more.py").write_text("def build(classes, *, width, depth=1): ...", encoding="utf-8")
    with pytest.raises(CardError, match="Write a function without arguments that returns the network") as error:
        load(card.write(factory=factory))
    assert "missing a required argument: 'classes'" in str(error.value) or "(5)" in factory


def test_missing_weights_are_refused(card):
    (card.folder / "tiny.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.safetensors does not exist"):
        load(card)


@pytest.mark.parametrize("data", [b"", b"garbage" * 9, b"\xff" * 64])
@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pt"])
def test_unreadable_weights_are_refused_by_name(card, data, name):
    (card.folder / name).write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{re.escape(name)} (cannot be read as plain tensors\S* \S|is empty)"):
        load(card.write(weights=name))


def test_weights_that_do_not_fit_name_the_first_keys(card):
    state = card.state()
    kept = {f"body.{key}": value for key, value in state.items() if key.startswith("0")}
    with pytest.raises(WeightsError) as error:
        load(card.weigh(kept))
    message = str(error.value)
    assert "network tiny" in message
    assert "missing: 1.weight, 1.bias, 1.running_mean and 5 more." in message  # what is under `body.` fits
    assert "\n" not in message


def test_weights_of_another_shape_name_both_shapes(card):
    state = card.state() | {"7.weight": torch.zeros(4, 8), "7.bias": torch.zeros(4)}
    says = r"7\.weight is \(4, 8\), the network has \(5, 8\), 7\.bias is \(4,\), the network has \(5,\)"
    with pytest.raises(WeightsError, match=says):
        load(card.weigh(state))


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_in_a_pickle_is_read_without_running_it(card, suffix, wrapped):
    state = card.state()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, card.folder / f"tiny{suffix}")
    (card.folder / "tiny.safetensors").unlink()
    assert load(card.write(weights=f"tiny{suffix}")).sha256 == tiny.classifier().sha256


@pytest.mark.parametrize("trust", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_leaves_no_mark(card, tmp_path, trust):
    mark, file = tmp_path / "mark", card.folder / "tiny.pt"
    torch.save(card.state() | {"bomb": Bomb(mark)}, file)
    card.write(weights="tiny.pt", factory="phosphene.demo.networks:PlainNet")
    with pytest.raises(WeightsError, match=r"tiny\.pt.*safetensors") as error:
        load(card, trust=trust)
    assert not mark.exists()
    assert "weights_only" not in str(error.value)  # torch's own advice is to switch the guard off
    torch.load(file, weights_only=False)
    assert mark.exists()  # so the mark shows what it should


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
def test_torchscript_is_refused_in_one_line_without_a_warning(card, recwarn):
    script = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    script.save(str(card.folder / "tiny.pt"))
    recwarn.clear()
    with pytest.raises(WeightsError, match=r"tiny\.pt.*state dict") as error:
        load(card.write(weights="tiny.pt"))
    assert "weights_only" not in str(error.value)
    assert not recwarn.list


@pytest.mark.parametrize("data", [[1, 2], {}, {"a": 3}, {"state_dict": {"a": "b"}}, torch.zeros(2)])
def test_a_pickle_of_something_else_is_refused(card, data):
    torch.save(data, card.folder / "tiny.pt")
    with pytest.raises(WeightsError, match=r"tiny\.pt hold no state dict"):
        load(card.write(weights="tiny.pt"))


@pytest.mark.parametrize("spec", ["nosuch", "nosuch:model", "demo", "", "/"])
def test_specs_that_nothing_answers_to_are_refused_with_what_there_is(spec):
    with pytest.raises(SpecError, match=f"'{spec}'"):
        sources.load(spec)


def test_nearby_specs_are_suggested_and_bare_weights_need_a_card(card):
    with pytest.raises(SpecError, match="Did you mean shapes"):
        sources.load("demo:shape")
    weights = card.folder / "tiny.safetensors"
    with pytest.raises(SpecError, match=r"Its card is .*tiny\.toml: give that"):
        sources.load(weights)
    with pytest.raises(SpecError, match=r"needs a card"):
        sources.load(weights.rename(card.folder / "other.safetensors"))


def test_a_byte_order_mark_is_not_part_of_a_card(card):
    card.path.write_bytes(b"\xef\xbb\xbf" + card.path.read_bytes())
    assert load(card).name == "tiny"


def test_every_refusal_is_of_one_family():
    for kind in (CardError, SpecError, TrustError, WeightsError):
        assert issubclass(kind, PhospheneError)


@pytest.mark.parametrize("link", [False, True], ids=["by its path", "by a link"])
@pytest.mark.parametrize("field", ["weights", "labels"])
def test_a_card_reads_files_outside_its_folder_only_with_trust(card, tmp_path, field, link):
    """A card that came from somewhere else must not have the files of this machine read."""
    inside = card.folder / card.fields[field]
    outside = inside.rename(tmp_path / inside.name)
    card.write(arch="torchvision:resnet18", factory=None)
    if link:
        inside.symlink_to(outside)
    else:
        card.write(**{field: f"../{outside.name}"})
    with pytest.raises(TrustError, match=rf"{field} .*lies outside the card's folder.*--trust"):
        sources.load(str(card.path))
    card.write(arch=None, factory="nets.py:tiny")
    assert load(card).sha256 == tiny.classifier().sha256


def test_a_card_in_a_folder_whose_name_is_no_text_is_refused_in_one_line(card):
    folder = card.folder.rename(card.folder.parent / os.fsdecode(b"\xff"))
    with pytest.raises(WeightsError, match="is not valid UTF-8"):
        sources.load(folder / card.path.name, trust=True)
