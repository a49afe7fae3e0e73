"""Kinds of model file that people have, each from a fresh Python through the command: the table of docs/model-files.md.

``PHOSPHENE_WRITE_DOCS=1 pytest tests/contract/test_model_files.py -k docs`` writes the table anew.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from phosphene.extras import require
from tests import tiny, two_towers
from tests.conftest import PATIENCE, ROOT
from tests.contract.test_sources import versions
from tests.unit.test_exported import export
from tests.unit.test_onnx import as_constants, channels_last
from tests.unit.test_sources import save_vit
from tests.unit.test_unwrapping import Ends
from tests.unit.test_weights import shard, under, zeros

PAGE = ROOT / "docs" / "model-files.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
HEAD = "| what people have | loaded by | verified with |\n| --- | --- | --- |\n"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")]


def checkpoint(make, name="checkpoint.pth", **fields):
    """A card whose weights are what ``make`` returns for the state dict of the tiny network."""

    def build(folder):
        card = tiny.make_card(folder)
        torch.save(make(card.state()), folder / name)
        return [["map", card.write(weights=name, **fields).path, "--trust"]]

    return build


def beside(folder):
    card = tiny.make_card(folder)
    (folder / "layers.py").write_text("from torch import nn\nhead = lambda: nn.Linear(8, 5)\n", encoding="utf-8")
    text = "from layers import head\n" + tiny.FACTORY.replace("nn.Linear(8, 5)", "head()")
    (folder / "nets.py").write_text(text, encoding="utf-8")
    return [["map", card.path, "--trust"]]


def halved(folder):
    return [["map", tiny.make_card(folder, half=True).path, "--trust"]]


def sharded(folder):
    card = tiny.make_card(folder)
    return [["map", card.write(weights=shard(card).name).path, "--trust"]]


def drafted(arch, suffix):
    """Bare weights, and the two commands that lead from them to maps."""

    def make(folder):
        folder.mkdir()
        library, _, name = arch.partition(":")
        build = importlib.import_module(f"phosphene.sources.{library}").build
        network = build(name, classes=5, size=(64, 64))
        file = folder / f"net{suffix}"
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
        return [["card", file, "--arch", arch, "--size", "64"], ["map", file.with_suffix(".toml")]]

    return make


def exported(name, batch=None, change=None, network=None, *, bare=False):
    def build(folder):
        file = export(folder / name, batch, network)
        if change:
            import onnx

            onnx.save(change(onnx.load(file)), file)
        trust = [] if name.endswith(".onnx") else ["--trust"]
        if not bare:
            return [["map", file, *trust]]
        file.with_suffix(".toml").unlink()
        return [["card", file, *trust], ["map", file, *trust]]

    return build


def newest(folder):
    """Operators of version 20, weights in a file beside."""
    import onnx
    import onnx.version_converter

    file = export(folder / "net.onnx", None)
    model = onnx.version_converter.convert_version(onnx.load(file), 20)
    onnx.save_model(model, file, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return [["map", file]]


def vit(folder):
    """A ViT of timm, exported with the version of operators that torch 2.13 takes by itself."""
    small = {"img_size": 16, "patch_size": 4, "depth": 2, "num_classes": 5}
    network = require("timm", "timm").create_model("vit_tiny_patch16_224", **small)
    return [["map", export(folder / "net.onnx", None, network, version=20)]]


def transformer(folder):
    folder.mkdir()
    return [["map", f"hf:{save_vit(folder / 'vit')}"]]


def texts(folder):
    two_towers.save("CLIP", folder / "clip")
    (folder / "names.txt").write_text("star\nring\nheart\ncross\nphoto\n", encoding="utf-8")
    return [["map", f"hf:{folder / 'clip'}#{folder / 'names.txt'};a photo of a {{}}"]]


def foreign(name):
    def build(folder):
        folder.mkdir()
        (folder / name).write_bytes(b"\x89HDF")
        return [["map", folder / name]]

    return build


def by_hand(folder):
    return [["map", tiny.make_card(folder).path, "--trust"]]


TWO = Ends(lambda net, x: (net[:5](x), net(x)))
CARD, DRAFT = "a card with `factory` and `weights`", "`phosphene card FILE --arch ... --size ...`, then its card"
LAST = {"optimizer": {"state": {0: {"exp_avg": torch.ones(6)}}}}
# kind -> (how it is loaded, what makes its files and returns the commands, packages that are needed)
FILES = {
    "state dict, `.safetensors`": (CARD, by_hand, ()),
    "half precision": (CARD, halved, ()),
    "shards with an `.index.json`": (CARD, sharded, ()),
    "state dict, `.pth`": (CARD, checkpoint(lambda s: s), ()),
    "a factory that imports files beside it": (CARD, beside, ()),
    "weights of torchvision": (DRAFT, drafted("torchvision:squeezenet1_1", ".pth"), ("torchvision",)),
    "weights of timm": (DRAFT, drafted("timm:resnet10t", ".safetensors"), ("timm",)),
    "`save_pretrained` of transformers": ("`hf:FOLDER`", transformer, ("transformers",)),
    "CLIP of transformers, with a list of classes": ("`hf:FOLDER#names.txt;a photo of a {}`", texts, ("transformers",)),
    "Lightning `.ckpt`": (
        CARD,
        checkpoint(lambda s: {"state_dict": under("model.", s) | {"loss.weight": torch.ones(5)}, **LAST}, "net.ckpt"),
        (),
    ),
    "fastai `learn.save`": (CARD, checkpoint(lambda s: {"model": s, "opt": {"state": [torch.ones(6)]}}), ()),
    "timm's training script, with an average": (
        CARD,
        checkpoint(
            lambda s: {"state_dict": zeros(s), "state_dict_ema": s, "args": argparse.Namespace(lr=1.0)}, "a.pth.tar"
        ),
        (),
    ),
    "torchvision's references, with an average": (
        CARD,
        checkpoint(lambda s: {"model": zeros(s), "model_ema": {"n_averaged": torch.tensor(1), **under("module.", s)}}),
        (),
    ),
    "DataParallel": (CARD, checkpoint(lambda s: {"net": under("module.", s), "acc": np.float64(0.9)}), ()),
    "`torch.compile`": (CARD, checkpoint(lambda s: {"model": under("_orig_mod.", s)}), ()),
    "a network among others (student, loss)": (
        CARD,
        checkpoint(lambda s: {"student": under("net.", s), "head": {"weight": torch.ones(3, 3)}}),
        (),
    ),
    "Ultralytics: a pickled network in a checkpoint": (
        f"{CARD}; only tensors are read",
        checkpoint(lambda _: {"epoch": -1, "model": tiny.network(), "ema": None}, "best.pt"),
        (),
    ),
    "`torch.save(network)`": (f"{CARD}; only tensors are read", checkpoint(lambda _: tiny.network(), "net.pt"), ()),
    "torch.export, a fixed batch": ("`net.pt2` beside its card", exported("net.pt2", 2), ()),
    "torch.export, bare": ("`phosphene card net.pt2`, then `net.pt2`", exported("net.pt2", bare=True), ()),
    "torch.export, several outputs": ("`net.pt2` beside its card", exported("net.pt2", network=TWO), ()),
    "TorchScript, scripted": ("`net.pt` beside its card", exported("net.pt"), ()),
    "TorchScript, traced": ("`net.ts` beside its card", exported("net.ts"), ()),
    "ONNX from torch, bare": (
        "`phosphene card net.onnx`, then `net.onnx`",
        exported("net.onnx", bare=True),
        ("onnx", "onnx2torch"),
    ),
    "ONNX of a ViT, with operators of version 20, torch's default": (
        "`net.onnx` beside its card",
        vit,
        ("onnx", "onnx2torch", "timm"),
    ),
    "ONNX with operators of version 20 and `.onnx.data`": (
        "`net.onnx` beside its card",
        newest,
        ("onnx", "onnx2torch"),
    ),
    "ONNX in Paddle's form: weights in nodes, open sizes": (
        "`net.onnx` beside its card",
        exported("net.onnx", change=as_constants),
        ("onnx", "onnx2torch"),
    ),
    "ONNX in Keras's form: channels last": (
        "`net.onnx` beside its card",
        exported("net.onnx", change=channels_last),
        ("onnx", "onnx2torch"),
    ),
    "ONNX, several outputs": ("`net.onnx` beside its card", exported("net.onnx", network=TWO), ("onnx", "onnx2torch")),
}
# kind -> expression of the module, where `net` is the tiny network
MODULES = {
    "a module": "net",
    "`torch.compile(module)`": "torch.compile(net)",
    "`DataParallel(module)`": "nn.DataParallel(net)",
    "a scripted module": "torch.jit.script(net)",
    "`AveragedModel` (SWA, EMA)": "torch.optim.swa_utils.AveragedModel(net)",
    "a module that returns features and logits": "Ends(lambda net, x: {'features': net[:5](x), 'out': net(x)})",
}
# kind -> what makes its files, or an expression of the module; what the one line says
REFUSED = {
    "Keras `.keras`": (foreign("net.keras"), "keras.saving.load_model"),
    "Keras `.h5`": (foreign("net.h5"), "keras.saving.load_model"),
    "TensorFlow Lite": (foreign("net.tflite"), "tf2onnx.convert"),
    "TensorFlow SavedModel": (foreign("saved_model.pb"), "tf2onnx.convert"),
    "Paddle `.pdmodel`": (foreign("net.pdmodel"), "paddle2onnx"),
    "a quantised module": (
        "torch.ao.quantization.quantize_dynamic(net, {nn.Linear})",
        "layer '7' (Linear) is quantised",
    ),
    "a module under `torch.no_grad`": ("Ends(torch.no_grad()(lambda net, x: net(x)))", "torch.no_grad"),
    "a module that ends in argmax": ("Ends(lambda net, x: net(x).argmax(1))", "without argmax"),
}
HOW = "`phosphene.Classifier(module, ...)`"
CODE = """
import sys, warnings
import torch, phosphene as ph
from torch import nn
from tests import tiny
from tests.unit.test_unwrapping import Ends
net = tiny.network()
try:
    with warnings.catch_warnings(action="ignore"):
        ph.map_concepts(ph.Classifier({}, size=16), [1], overrides=tiny.SHORT, out="run", progress=False)
except ph.PhospheneError as error:
    sys.exit(f"phosphene: {{error}}")
"""


def python(code, folder):
    """Run code in a fresh Python that finds the tests."""
    folder.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    command = [sys.executable, "-c", CODE.format(code)]
    options = {"capture_output": True, "text": True, "timeout": PATIENCE}
    return subprocess.run(command, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, **options)


def mapped(folder):
    """The facts of the network whose map was written."""
    assert len(list(folder.glob("maps/*/*/map.png"))) == 1
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))["model"]


@pytest.mark.parametrize("kind", list(FILES))
def test_a_file_is_mapped(kind, tmp_path, run):
    out = tmp_path / "run"
    for number, words in enumerate(commands := FILES[kind][1](tmp_path / "files")):
        last = number == len(commands) - 1
        answer = run(*words, *(["-c", "1", "--out", out, *tiny.SETTINGS] if last else []))
        assert answer.code == 0, answer.err
    facts = mapped(out)
    assert facts["classes"] == (3 if "save_pretrained" in kind else 5)
    if FILES[kind][0].startswith(CARD) and kind != "half precision":
        assert facts["sha256"] == tiny.classifier().sha256


@pytest.mark.parametrize("kind", list(MODULES))
def test_a_module_is_mapped(kind, tmp_path):
    done = python(MODULES[kind], tmp_path)
    assert done.returncode == 0, done.stderr
    assert mapped(tmp_path / "run")["classes"] == 5


@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_cannot_be_mapped_is_one_line(kind, tmp_path, run):
    make, says = REFUSED[kind]
    if isinstance(make, str):
        line = python(make, tmp_path).stderr.strip().splitlines()[-1]
    else:
        (words,) = make(tmp_path / "files")
        line = run(*words, "-c", "1").complaint
    assert line.startswith("phosphene: ")
    assert says in line
    assert not list(Path(tmp_path).rglob("map.png"))


def test_the_docs_list_every_kind():
    rows = {kind: (how, versions(*packages)) for kind, (how, _, packages) in FILES.items()}
    rows |= {kind: (HOW, versions()) for kind in MODULES}
    rows |= {kind: (f"refused in one line: {says}", versions()) for kind, (_, says) in REFUSED.items()}
    text = PAGE.read_text(encoding="utf-8")
    before, table = text.split(BEGIN)
    if os.environ.get("PHOSPHENE_WRITE_DOCS"):
        lines = "".join(f"| {kind} | {how} | {verified} |\n" for kind, (how, verified) in rows.items())
        PAGE.write_text(before + BEGIN + HEAD + lines + END + table.split(END)[1], encoding="utf-8")
        return
    listed = [line.split(" | ") for line in table.split(END)[0].removeprefix(HEAD).splitlines()]
    assert [(kind.removeprefix("| "), how) for kind, how, _ in listed] == [
        (kind, how) for kind, (how, _) in rows.items()
    ]
    assert len(listed) >= 25
