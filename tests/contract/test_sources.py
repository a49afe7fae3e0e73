"""Every source with random weights: it loads, maps two classes, has a sensible Xi, survives saving, is in the docs.

``PHOSPHENE_WRITE_DOCS=1 pytest tests/contract/test_sources.py`` writes the table in docs/sources.md anew.
"""

import importlib.metadata
import os
import shutil
from pathlib import Path

import pytest
import torch

import phosphene as ph
from phosphene.engine import Engine
from phosphene.samples.pool import make_pool
from phosphene.sources import card as cards
from phosphene.sources.card import card_files
from phosphene.sources.hf import _without_progress_bars
from tests import two_towers
from tests.twice import ROOM, distance
from tests.unit.test_exported import export

PAGE = Path(__file__).parent.parent.parent / "docs" / "sources.md"
MARKS = ("<!-- table: begin -->\n", "<!-- table: end -->\n")
HEAD = "| model | input | Xi from | its grid | verified with |\n| --- | --- | --- | --- | --- |\n"
CHEAP = {"batch_size": 1, "steps": 2, "refine_steps": 1, "rounds": 1}

# architecture -> side of the smallest input that leaves it a grid; None: the spec itself, at its own size
ARCHITECTURES = {
    "torchvision:vgg16": None,
    "torchvision:resnet50": 64,
    "torchvision:densenet121": 64,
    "torchvision:mobilenet_v3_large": 64,
    "torchvision:convnext_tiny": 64,
    "torchvision:vit_b_16": 32,
    "torchvision:swin_t": 64,
    "timm:mobilenetv3_small_050": 64,
    "timm:convnext_atto": 64,
    "timm:deit_tiny_distilled_patch16_224": 32,
    "timm:swin_tiny_patch4_window7_224": 64,
}
LARGE = {"torchvision:vgg16", "torchvision:vit_b_16"}  # their weights are half a gigabyte
SMALL = {"num_labels": 5, "image_size": 64}
# config of transformers -> what makes it small
CONFIGS = {
    "ViT": SMALL | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "Swin": SMALL | {"embed_dim": 16, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "window_size": 4},
    "ConvNext": SMALL | {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "ResNet": {"num_labels": 5, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"},
}
EXPORTED = {
    "torch.export, fixed batch": ("static.pt2", 2),
    "torch.export, any batch": ("dynamic.pt2", None),
    "TorchScript, scripted": ("script.pt", None),
    "TorchScript, traced": ("trace.ts", None),
    "ONNX (experimental)": ("any.onnx", None),
}
ROWS: dict[str, str] = {}


def versions(*packages):
    return ", ".join(f"{name} {importlib.metadata.version(name).partition('+')[0]}" for name in ("torch", *packages))


@pytest.fixture
def folder(tmp_path):
    """A folder whose large files do not outlive the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def walk(classifier, row, verified):
    """Map two classes, look at Xi, and note the row of the table."""
    with Engine(classifier, device="cpu") as engine:
        layer = engine.spatial_layer()
        grid = engine.activations(torch.rand(1, *classifier.input.shape), layer).shape[2:]
    pixels = torch.randint(0, 256, (8, *classifier.input.shape), dtype=torch.uint8)
    pool = make_pool(pixels, "test")  # few, because each map is measured on those that are held out
    first, second = ph.map_concepts(classifier, [1, 3], overrides=CHEAP, samples=pool, device="cpu")
    for one in (first, second):
        assert one.nu.isfinite().all()
        assert one.nu.abs().max() > 0
        assert one.xi.shape == (1, *classifier.input.size)
        assert one.xi.min() == 0
        assert one.xi.max() == 1
        assert 0.01 < one.xi.mean() < 0.99
    assert distance(first.nu, second.nu) > ROOM
    height, width = classifier.input.size
    ROWS[row] = f"| {row} | {height} x {width} | `{layer}` | {grid[0]} x {grid[1]} | {verified} |\n"


def survives(classifier, folder):
    """Write its card, load that, and find the same classifier."""
    for file, data in card_files(classifier, folder / "net.toml", folder / "net.safetensors").items():
        file.write_bytes(data)
    again = ph.load(folder / "net.toml")
    assert again.sha256 == classifier.sha256
    assert again.input == classifier.input
    assert list(again.labels) == list(classifier.labels)
    pixels = torch.rand(1, *classifier.input.shape, generator=torch.Generator().manual_seed(0))
    with Engine(classifier, device="cpu") as one, Engine(again, device="cpu") as other:
        torch.testing.assert_close(one.logits(pixels), other.logits(pixels), rtol=1e-3, atol=1e-4)


def liven(module):
    """Fill what starts at zero (heads of transformers, ends of residual blocks): every class has a gradient then."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in ARCHITECTURES]
)
def test_architectures(name, folder):
    side = ARCHITECTURES[name]
    if side is None:
        classifier = ph.load(f"{name}@random")
    else:
        fields = f'arch = "{name}"\nclasses = 5\n[input]\nsize = [{side}, {side}]\nstd = [0.25, 0.25, 0.25]\n'
        (folder / "first.toml").write_text(fields, encoding="utf-8")
        classifier = ph.load(folder / "first.toml")
    liven(classifier.module)
    walk(classifier, f"`{name}`", versions(name.partition(":")[0]))
    survives(classifier, folder)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_transformers(name, folder):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**CONFIGS[name])
    module = getattr(transformers, f"{name}ForImageClassification")(config)
    liven(module)
    with _without_progress_bars():
        module.save_pretrained(folder / "saved")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "saved")
    classifier = ph.load(f"hf:{folder / 'saved'}")
    walk(classifier, f"`hf:` {name}ForImageClassification", versions("transformers"))
    survives(classifier, folder)


@pytest.mark.parametrize("name", list(two_towers.CONFIGS))
def test_two_towers(name, folder):
    two_towers.save(name, folder / "saved")
    classifier = ph.load(f"hf:{folder / 'saved'}#a red star;a blue ring;a photo of a cross;heart")
    walk(classifier, f"`hf:` {name}Model, four texts", versions("transformers"))


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*no layer whose features can be read")  # TorchScript
@pytest.mark.parametrize("name", list(EXPORTED))
def test_exported_networks(name, folder):
    file, batch = EXPORTED[name]
    classifier = ph.load(export(folder / file, batch), trust=True)
    packages = ("onnx", "onnx2torch") if file.endswith(".onnx") else ()
    walk(classifier, name, versions(*packages))


def test_a_module_in_python():
    from tests import tiny

    walk(tiny.classifier(), "`phosphene.Classifier(module, ...)`", versions())


def test_the_docs_say_what_was_verified():
    expected = {
        *(f"`{name}`" for name in ARCHITECTURES),
        *(f"`hf:` {name}ForImageClassification" for name in CONFIGS),
        *(f"`hf:` {name}Model, four texts" for name in two_towers.CONFIGS),
        *EXPORTED,
        "`phosphene.Classifier(module, ...)`",
    }
    text = PAGE.read_text(encoding="utf-8")
    before, table, after = text[: text.index(MARKS[0])], *text[text.index(MARKS[0]) + len(MARKS[0]) :].split(MARKS[1])
    if os.environ.get("PHOSPHENE_WRITE_DOCS") and set(ROWS) == expected:
        PAGE.write_text(before + MARKS[0] + HEAD + "".join(ROWS.values()) + MARKS[1] + after, encoding="utf-8")
        return
    rows = {row.split("|")[1].strip(): row for row in table.removeprefix(HEAD).splitlines(keepends=True)}
    assert set(rows) == expected
    for name in set(ROWS):
        if rows[name].split("|")[5] == ROWS[name].split("|")[5]:  # the same versions
            assert rows[name] == ROWS[name]


def test_every_architecture_prefix_builds_with_one_signature():
    import importlib
    import inspect

    for prefix in cards.ARCHITECTURES:
        build = importlib.import_module(f"phosphene.sources.{prefix}").build
        assert list(inspect.signature(build).parameters) == ["name", "classes", "size", "channels"]
    for form in cards.FORMATS.values():
        assert list(inspect.signature(importlib.import_module(form.module).load).parameters) == ["path"]
