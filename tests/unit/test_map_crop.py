"""The crop of a map that sends most samples to its class."""

import pytest
import torch

from phosphene.backdoor.map_crop import best_crop
from phosphene.backdoor.measure import ScanEngine
from tests import hand


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
