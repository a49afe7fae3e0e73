"""The crop of a map that sends most samples to its class, and what a scan of two suspects makes of it."""

from pathlib import Path

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.backdoor.map_crop import best_crop
from phosphene.backdoor.measure import ScanEngine
from phosphene.errors import PhospheneWarning
from tests import hand

OTHER = 5  # the class of the second backdoor


class TwoBackdoors(nn.Module):
    """The hand-made network with one more backdoor: the same patch, mirrored, for ``OTHER``; a class may have no gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1, bias=False)  # a layer for Xi
        nn.init.dirac_(self.first.weight)
        self.clean, self.trojaned = hand.Templates(), hand.Templates(boost=40.0)
        self.broken: int | None = None  # the class without gradients

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        mirrored = x.flip(3)
        push = (self.trojaned(mirrored) - self.clean(mirrored))[:, [hand.TARGET]]
        logits = self.trojaned(x) + push * nn.functional.one_hot(torch.tensor(OTHER), hand.CLASSES)
        if self.broken is not None and logits.requires_grad:
            logits.register_hook(lambda g: g.masked_fill((g.abs().argmax(1) == self.broken)[:, None], torch.nan))
        return logits


def scan(out, **options):
    """Scan a network with two backdoors; its suspects are mapped quickly."""
    network = options.pop("network", None) or ph.Classifier(TwoBackdoors(), size=hand.SIDE)
    options = {"recipe": ph.Recipe(name="mine", steps=2, refine_steps=0), "range_check": False} | options
    return ph.scan(network, samples=hand.pool(), device="cpu", progress=False, out=out, **options)


@pytest.mark.parametrize(("boost", "works"), [(40.0, True), (0.0, False)])
@pytest.mark.parametrize("output", ["logits", "multi-label"])
def test_a_crop_with_the_trigger_moves_samples_in_the_network_with_the_backdoor_alone(output, boost, works):
    network = hand.classifier(boost, output=output)
    image = torch.full((3, hand.SIDE, hand.SIDE), 0.5)
    image[:, : hand.PATCH, : hand.PATCH] = hand.classifier().module.patch
    pool = hand.pool()
    with ScanEngine(network, device="cpu") as engine:
        crop = best_crop(engine, pool, image, hand.TARGET)
    assert 0 < crop.effect.tried <= len(pool.held_out)
    assert (crop.effect.share > 0.9) == works
    if works:
        assert crop.box == (0, 0, hand.SIDE // 4, hand.SIDE // 4)
        assert torch.equal(crop.content, image)  # nothing is optimised
    else:
        assert crop.effect.share < 0.4


def test_a_suspect_that_cannot_be_mapped_leaves_the_other_its_map_and_its_crop(tmp_path):
    network = ph.Classifier(TwoBackdoors(), size=hand.SIDE)
    found = scan(tmp_path, network=network, mapped=False)
    assert {one.index for one in found.suspects} == {hand.TARGET, OTHER}
    network.module.broken = hand.TARGET
    with pytest.warns(PhospheneWarning, match="the suspects could not be mapped: 1 of 2 maps could not be made"):
        again = scan(tmp_path, network=network)
    assert again.cached
    assert [one.index for one in again.run] == [OTHER]
    assert {one["index"]: "map_crop" in one for one in again.document["suspects"]} == {hand.TARGET: False, OTHER: True}
    assert (tmp_path / "readings.json").is_file()  # what the network predicts for the other map
    assert "The crop of that map that moves most images" in Path(again.report).read_text(encoding="utf-8")


@pytest.mark.parametrize("seed", [0, 3])
def test_crops_of_a_scan_with_any_seed_are_counted_on_the_same_held_out_samples_and_shown_as_they_are_tried(
    tmp_path, seed
):
    calls = []
    found = scan(tmp_path, seed=seed, on_progress=calls.append)
    pool, network = hand.pool(), ph.Classifier(TwoBackdoors(), size=hand.SIDE)
    maps = {one.index: one for one in found.run}
    assert maps.keys() == {hand.TARGET, OTHER}
    for one in found.document["suspects"]:
        with ScanEngine(network, device="cpu") as engine:
            crop = best_crop(engine, pool, maps[one["index"]].pixels, one["index"])
        assert (one["map_crop"]["box"], one["map_crop"]["tried"]) == (list(crop.box), crop.effect.tried)
        assert one["map_crop"]["success"] == pytest.approx(crop.effect.share)
    parts = [one.doing for one in calls if one.share is None]
    assert parts[-1].startswith("try crops of the map of ")
    assert {f"try crops of the map of class {k}" for k in maps} <= set(parts)
