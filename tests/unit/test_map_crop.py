"""The crop of a map that sends most samples to its class."""

import pytest
import torch

from phosphene.backdoor.map_crop import best_crop
from phosphene.backdoor.measure import ScanEngine
from phosphene.backdoor.probes import probes_of
from tests import hand


@pytest.mark.parametrize(("boost", "works"), [(40.0, True), (0.0, False)])
def test_a_crop_with_the_trigger_moves_samples_to_the_class_of_a_network_with_the_backdoor_alone(boost, works):
    network = hand.classifier(boost)
    image = torch.full((3, hand.SIDE, hand.SIDE), 0.5)
    image[:, : hand.PATCH, : hand.PATCH] = hand.classifier().module.patch
    with ScanEngine(network, device="cpu") as engine:
        search, held_out = probes_of(engine, hand.pool(), natural=True)
        crop = best_crop(engine, search, held_out, image, hand.TARGET)
    others = int((held_out.predicted != hand.TARGET).sum())
    assert crop.effect.tried == min(others, 100)
    assert (crop.effect.share > 0.9) == works
    if works:
        assert crop.box == (0, 0, hand.SIDE // 4, hand.SIDE // 4)
        assert torch.equal(crop.content, image)  # nothing is optimised
    else:
        assert crop.effect.share < 0.5
