"""Weights: every form that training scripts leave them in, and nothing read that does not fit."""

import argparse
import collections
import gzip
import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from phosphene import sources
from phosphene.errors import CardError, WeightsError
from phosphene.sources.weights import load_weights, match_names
from tests import tiny


def load(card):
    return sources.load(card.path, trust=True)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "model.", "net.body."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_a_prefix_before_all_names_is_let_go(card, prefix, suffix):
    state = {f"{prefix}{key}": value for key, value in card.state().items()}
    file = card.folder / f"prefixed{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    assert load(card.write(weights=file.name)).sha256 == tiny.classifier().sha256


def test_a_prefix_before_some_names_is_not():
    with pytest.raises(WeightsError, match=r"missing: weight.*not in the network: body\.weight"):
        match_names({"body.weight": (2, 3), "bias": (2,)}, nn.Linear(2, 2), "w", "net")


@pytest.mark.parametrize("before", ["module.", "_orig_mod.", "model.module."])
def test_names_beside_a_wrapper_s_are_refused_but_for_those_of_training(before):
    state = {f"{before}weight": (2, 2), f"{before}bias": (2,)}
    outer = before.removesuffix("module.").removesuffix("_orig_mod.")
    training = {f"{outer}{name}": (2,) for name in ("optimizer.state.0.exp_avg", "lr_scheduler.last", "epoch")}
    found = match_names(state | training, nn.Linear(2, 2), "w", "net")
    assert found == {"weight": f"{before}weight", "bias": f"{before}bias"}
    for extra in (f"{outer}head.weight", f"{before}head.weight", f"{outer}epochal.weight"):
        with pytest.raises(WeightsError, match=f"not in the network: {extra}"):
            match_names({**state, extra: (2, 2)}, nn.Linear(2, 2), "w", "net")


def under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def zeros(state):
    return {key: torch.zeros_like(value) for key, value in state.items()}


TRAINED = {"optimizer": {"state": {0: {"exp_avg": torch.ones(6)}}, "param_groups": [{"lr": 0.1}]}, "epoch": 3}
CHECKPOINTS = {
    "state_dict": lambda s: {"state_dict": s},
    "DeepSpeed": lambda s: {"module": s},
    "any key, nested": lambda s: {"checkpoint": {"net": {"state": s}}},
    "fastai": lambda s: {"model": s, "opt": {"state": [{"mom": torch.ones(6)}], "hypers": [{"lr": 0.1}]}},
    "Lightning": lambda s: {"state_dict": under("model.", s) | {"loss.weight": torch.ones(5)}, "hyper_parameters": {}},
    "Lightning's options": lambda s: {"state_dict": under("net.", s), "hyper_parameters": argparse.Namespace(lr=0.1)},
    "DataParallel of torch.compile": lambda s: {"model": under("module._orig_mod.", s)},
    "a part in DataParallel": lambda s: {"net": {re.sub(r"^0\.", "0.module.", key): s[key] for key in s}},
    "numbers of numpy": lambda s: {
        "model": s,
        "best": np.float64(0.5),
        "history": collections.defaultdict(list, a=[1]),
    },
    "a loss with weights": lambda s: {
        "model": {**s, "loss_fn.weight": torch.ones(5), "criterion.pos_weight": torch.ones(5)}
    },
    "counters of thop": lambda s: {"model": {**s, "total_ops": torch.ones(1), "0.total_params": torch.ones(1)}},
    "a whole network": lambda _: tiny.network(),
    "a whole network in a checkpoint": lambda _: {"model": tiny.network(), "ema": None, "train_args": {}},
}
AVERAGED = {
    "timm": lambda s: {"state_dict": zeros(s), "state_dict_ema": s},
    "torchvision": lambda s: {"model": zeros(s), "model_ema": {"n_averaged": torch.tensor(3), **under("module.", s)}},
    "within Lightning": lambda s: {"state_dict": under("net.", zeros(s)) | under("net_ema.", s)},
}


@pytest.mark.parametrize("kind", [*CHECKPOINTS, *AVERAGED])
def test_checkpoints_of_training_scripts(card, kind):
    made = (CHECKPOINTS | AVERAGED)[kind](card.state())
    torch.save({**made, **TRAINED} if isinstance(made, dict) else made, card.folder / "checkpoint.pt")
    found = load(card.write(weights="checkpoint.pt"))
    assert found.sha256 == tiny.classifier().sha256
    assert len(found.notes) == (kind in AVERAGED)
    assert all("ema" in note for note in found.notes)


class Options:
    """What a reader of tensors alone does not know."""


UNREADABLE = {
    "empty": (lambda _: b"", "is empty"),
    "a web page": (lambda _: b"\n<!DOCTYPE html><html>", "is a web page"),
    "Git LFS": (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
    "gzip": (lambda s: gzip.compress(saved(s)), "is compressed"),
    "cut off": (lambda s: saved(s)[:-50], "is cut off"),
    "before torch 1.6": (
        lambda s: saved([s, Options()], _use_new_zipfile_serialization=False),
        "it is damaged, or holds more than tensors",
    ),
    "pickle_protocol": (lambda s: saved(s, pickle_protocol=4), "pickle_protocol"),
    "sparse": (lambda s: saved(s | {"7.weight": s["7.weight"].to_sparse()}), "7.weight is sparse_coo"),
    "meta": (lambda s: saved(s | {"7.weight": s["7.weight"].to("meta")}), "7.weight is without values"),
}


def saved(made, **how):
    file = io.BytesIO()
    torch.save(made, file, **how)
    return file.getvalue()


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_files_that_hold_no_weights_are_refused_by_what_they_are(card, kind):
    write, says = UNREADABLE[kind]
    data = write(card.state())
    files = ["bad.pt", "bad.safetensors"] if kind in ("empty", "a web page", "Git LFS", "gzip") else ["bad.pt"]
    for name in files:
        (card.folder / name).write_bytes(data)
        with pytest.raises(WeightsError, match=rf"{re.escape(name)}.* {says}"):
            load(card.write(weights=name))


@pytest.mark.parametrize("name", ["a.onnx", "a.pt2", "a.pt"])
def test_exported_networks_that_hold_none_are_refused_likewise(tmp_path, name):
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    (tmp_path / "a.toml").write_text(f'exported = "{name}"\n[input]\nsize = [9, 9]\n', encoding="utf-8")
    with pytest.raises(CardError, match=rf"{name} is a pointer of Git LFS"):
        sources.load(tmp_path / "a.toml", trust=True)


class Leaves:
    """Leaves a mark when it is unpickled by a reader that runs what it reads."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (shutil.copyfile, (__file__, str(self.mark)))


def test_what_stands_beside_the_tensors_is_not_run(card):
    mark = card.folder / "mark"
    torch.save({"model": card.state(), "options": Leaves(mark), "net": tiny.network()}, card.folder / "checkpoint.pt")
    assert load(card.write(weights="checkpoint.pt")).notes == (
        "of several weights in checkpoint.pt, those named model.* are used",
    )
    assert not mark.exists()
    torch.load(card.folder / "checkpoint.pt", weights_only=False)
    assert mark.exists()  # so the mark shows what it should


def test_the_part_that_fits_is_found_by_its_shapes():
    state = {"teacher.weight": (9, 9), "teacher.bias": (9,), "head.weight": (2, 3), "head.bias": (2,)}
    assert match_names(state, nn.Linear(3, 2), "w", "net") == {"weight": "head.weight", "bias": "head.bias"}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_single(card, kind):
    card.weigh({key: value.to(kind) if value.is_floating_point() else value for key, value in card.state().items()})
    assert {tensor.dtype for tensor in load(card).module.parameters()} == {torch.float32}


def shard(card, suffix=".safetensors"):
    """Split the weights into two files and an index."""
    places = {}
    for number in range(2):
        part = {key: value for place, (key, value) in enumerate(card.state().items()) if place % 2 == number}
        name = f"part-{number}{suffix}"
        save_file(part, card.folder / name) if suffix == ".safetensors" else torch.save(part, card.folder / name)
        places |= dict.fromkeys(part, name)
    index = card.folder / f"tiny{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    (card.folder / "tiny.safetensors").unlink()
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_weights_in_shards_are_put_together(card, suffix):
    assert load(card.write(weights=shard(card, suffix).name)).sha256 == tiny.classifier().sha256


def test_a_missing_shard_is_named(card):
    index = shard(card)
    (card.folder / "part-1.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"part-1\.safetensors does not exist"):
        load(card.write(weights=index.name))


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/passwd", "a/b.safetensors", "", 3, None])
def test_an_index_leads_nowhere_else(card, place):
    index = shard(card)
    index.write_text(json.dumps({"weight_map": {"0.weight": place}}), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"index\.json (name the shard|are not an index)"):
        load(card.write(weights=index.name))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": []}}', "\0"])
def test_a_damaged_index_is_refused(card, text):
    index = shard(card)
    index.write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=r"tiny\.safetensors\.index\.json"):
        load(card.write(weights=index.name))


def test_shapes_are_compared_before_tensors_are_read(card, monkeypatch):
    card.weigh(card.state() | {"7.weight": torch.zeros(4, 8)})
    monkeypatch.setattr(
        "safetensors.torch.load_file", lambda _: pytest.fail("read before the shapes were known to fit")
    )
    with pytest.raises(WeightsError, match=r"7\.weight is \(4, 8\)"):
        load(card)


def test_a_header_of_more_than_the_file_holds_is_refused(card):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    (card.folder / "tiny.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    with pytest.raises(WeightsError, match=r"tiny\.safetensors cannot be read"):
        load(card)


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused_unread(card, monkeypatch):
    torch.save(card.state(), card.folder / "whole.pt")
    packed = card.folder / "packed.pt"
    with (
        zipfile.ZipFile(card.folder / "whole.pt") as whole,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for entry in whole.infolist():
            small.writestr(entry.filename, whole.read(entry))
        small.writestr("whole/data/99", b"\0" * 10**7)
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(WeightsError, match=r"packed\.pt cannot be read as plain tensors"):
        load(card.write(weights="packed.pt"))


class Inception(nn.Module):
    """A network whose training has another head, which its weights may come with or without."""

    def __init__(self, *, auxiliary):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.AuxLogits = nn.Linear(2, 2) if auxiliary else None


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("comes", [True, False])
def test_heads_for_training_may_be_there_or_not(tmp_path, has, comes):
    source, target = Inception(auxiliary=comes), Inception(auxiliary=has)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt", network="net")
    assert torch.equal(target.body.weight, source.body.weight)


def test_old_names_of_densenet_are_understood():
    module = nn.ModuleDict({"denselayer1": nn.ModuleDict({"norm1": nn.BatchNorm2d(2), "conv2": nn.Conv2d(2, 2, 1)})})
    old = {
        "denselayer1.norm.1.weight": (2,),
        "denselayer1.norm.1.bias": (2,),
        "denselayer1.norm.1.running_mean": (2,),
        "denselayer1.norm.1.running_var": (2,),
        "denselayer1.conv.2.weight": (2, 2, 1, 1),
        "denselayer1.conv2.bias": (2,),
    }
    assert match_names(old, module, "w", "net")["denselayer1.norm1.weight"] == "denselayer1.norm.1.weight"


def test_a_part_of_the_network_that_is_called_like_a_loss_must_be_in_the_file():
    """Weights of a loss may stand in a file beside the network's; a network's own must not keep random ones."""
    module = nn.ModuleDict({"criterion": nn.Linear(2, 2), "loss": nn.Linear(2, 2)})
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert match_names(shapes, module, "w", "net") == {key: key for key in shapes}
    for part in module:
        left = {key: shape for key, shape in shapes.items() if not key.startswith(part)}
        with pytest.raises(WeightsError, match=rf"missing: {part}\.weight"):
            match_names(left, module, "w", "net")
