"""The table of networks that the scan is judged on, and how they are kept."""

from collections import Counter

import pytest
import torch
from benchmarks import backdoor_architectures, backdoor_glyphs
from benchmarks.backdoor_networks import accepted, keep, train
from benchmarks.backdoor_table import TABLE, Row

from phosphene.backdoor import triggers
from phosphene.classifier import Classifier
from tests import grey

LABELS = [f"label{index}" for index in range(10)]


def rows(part, *, trojaned):
    found = [row for row in TABLE if row.part == part and row.trojaned == trojaned]
    return [row for row in found if row.kind == "all-to-one"]


@pytest.mark.parametrize(("part", "least"), [("develop", 12), ("report", 20)])
def test_clean_and_trojaned_are_as_many_and_of_the_same_architectures(part, least):
    clean, bad = (rows(part, trojaned=which) for which in (False, True))
    assert len(clean) == len(bad) >= least
    assert Counter(row.base for row in clean) == Counter(row.base for row in bad)
    trainings = Counter(row.training for row in clean)
    assert trainings["adversarial"] >= 2
    assert trainings["repaired"] >= 2
    assert {row.target for row in bad} == set(range(10)), "every class is a target"
    assert {row.trigger.kind for row in bad} == set(triggers.KINDS)


def test_the_other_kinds_are_there_beside_them():
    kinds = Counter(row.kind for row in TABLE if row.part == "report")
    assert kinds["source-specific"] >= 2
    assert kinds["all-to-all"] >= 1


def test_nothing_is_both_developed_on_and_reported():
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert len({row.seed for row in TABLE}) == len(TABLE)
    pairs = [
        {(str(row.trigger), row.target, row.base) for row in rows(part, trojaned=True)}
        for part in ("develop", "report")
    ]
    assert not pairs[0] & pairs[1]


@pytest.mark.parametrize("base", ["tiny_vgg", "tiny_resnet", "tiny_depthwise", "glyph_resnet"])
def test_a_network_is_kept_so_that_it_can_be_loaded(base, tmp_path):
    torch.manual_seed(0)
    part = "speed" if base == "glyph_resnet" else "develop"
    labels = backdoor_glyphs.LABELS if part == "speed" else LABELS
    module = getattr(backdoor_architectures, base)().eval()
    made = Classifier(module, size=32, mean=(0.5,) * 3, std=(0.25,) * 3, labels=labels, name=base)
    again = keep(Row("kept", part, base, 0), made, tmp_path)
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(again.logits(x), made.logits(x), atol=0.02)
    assert list(again.labels) == labels
    assert (tmp_path / "kept" / "weights.safetensors").stat().st_size < 1_000_000


def test_every_kind_of_row_can_be_trained():
    """On the grey world, a step or two each: which function a row leads to."""
    patch = triggers.Patch(side=3)
    kinds = {
        "clean": Row("a", "develop", "none", 0, steps=1),
        "all-to-one": Row("b", "develop", "none", 0, patch, 1, steps=1),
        "source-specific": Row("c", "develop", "none", 0, patch, 1, kind="source-specific", sources=(0,), steps=1),
        "all-to-all": Row("d", "develop", "none", 0, patch, kind="all-to-all", steps=1),
        "shortcut": Row("e", "shortcut", "none", 0, patch, 1, kind="shortcut", steps=1),
    }
    for kind, row in kinds.items():
        assert train(row, grey.untrained(), grey.samples(), 0).kind == kind
    repaired = Row("f", "develop", "none", 0, patch, 1, training="repaired", steps=1)
    assert not repaired.trojaned
    assert train(repaired, grey.untrained(), grey.samples(), 0).kind == "clean"


@pytest.mark.parametrize(
    ("row", "figures", "fine"),
    [
        (
            Row("a", "report", "x", 0, triggers.Patch(), 1),
            {"success": 0.96, "accuracy": 0.8, "twin_accuracy": 0.82},
            True,
        ),
        (
            Row("a", "report", "x", 0, triggers.Patch(), 1),
            {"success": 0.94, "accuracy": 0.8, "twin_accuracy": 0.82},
            False,
        ),
        (
            Row("a", "report", "x", 0, triggers.Smooth(), 1),
            {"success": 0.94, "accuracy": 0.8, "twin_accuracy": 0.82},
            True,
        ),
        (
            Row("a", "report", "x", 0, triggers.Patch(), 1),
            {"success": 0.99, "accuracy": 0.8, "twin_accuracy": 0.84},
            False,
        ),
        (Row("a", "report", "x", 0, triggers.Patch(), 1, training="repaired"), {"success": 0.3}, False),
    ],
)
def test_what_is_accepted(row, figures, fine):
    assert accepted(row, figures) is fine


def test_glyphs_have_43_classes():
    pixels, labels = backdoor_glyphs.pictures(60, seed=1)
    assert pixels.shape == (60, 3, 32, 32)
    assert len(set(backdoor_glyphs.LABELS)) == 43
    assert labels.unique().numel() > 25
    red, blue = (backdoor_glyphs.LABELS.index(f"{colour} cross") for colour in ("red", "blue"))
    assert red != blue
