"""Triggers change samples as their mask and pattern say, and survive JSON."""

import dataclasses
import json

import pytest
import torch

from phosphene.backdoor import drawing
from phosphene.backdoor.triggers import (
    TRIGGER_KINDS,
    Blended,
    Emblem,
    Patch,
    Trigger,
    apply_8bit,
    from_dict,
    to_dict,
)
from phosphene.errors import RecipeError

TRIGGERS = {
    "solid": Patch(side=3, colour=(1.0, 0.2, 0.0)),
    "checker": Patch(side=4, texture="checker", place=(5, 7)),
    "noise": Patch(side=5, texture="noise", place="top-right", seed=3),
    "random": Patch(side=2, place="random"),
    **{name: Emblem(side=8, shape=name, place="centre") for name in drawing.EMBLEMS},
    "random emblem": Emblem(side=7, place="random"),
    **{f"blended {name}": Blended(picture=name) for name in ("noise", *drawing.SCENES)},
}
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 48, 40)]


def random_samples(shape, count=3):
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TRIGGERS)
def test_a_sample_changes_as_mask_and_pattern_say(name, shape):
    trigger, before = TRIGGERS[name], random_samples(shape)
    mask, pattern = trigger.mask(shape), trigger.pattern(shape)
    assert isinstance(trigger, Trigger)
    assert mask.shape == (1, *shape[1:])
    assert pattern.shape == shape
    assert 0 <= mask.min() < mask.max() <= 1 or name.startswith("blended")
    assert pattern.min() >= 0
    if getattr(trigger, "place", "") == "random":
        trigger = dataclasses.replace(trigger, place=trigger.top_left(shape))  # where mask and pattern show it
    after = trigger.apply(before)
    assert torch.allclose(after, before + mask * (pattern - before), atol=1e-6)
    assert torch.equal(before, random_samples(shape)), "the given samples have changed"
    assert (after - before).abs().amax() > 0.03


def test_every_kind_is_tried():
    assert {trigger.kind for trigger in TRIGGERS.values()} == set(TRIGGER_KINDS)


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_survives_json(name):
    trigger = TRIGGERS[name]
    again = from_dict(json.loads(json.dumps(to_dict(trigger))))
    assert again == trigger
    assert torch.equal(again.pattern((3, 32, 32)), trigger.pattern((3, 32, 32)))


@pytest.mark.parametrize(
    ("place", "corner"),
    [
        ("top-left", (1, 1)),
        ("top-right", (1, 36)),
        ("bottom-left", (28, 1)),
        ("bottom-right", (28, 36)),
        ("centre", (14, 18)),
        ((2, 9), (2, 9)),
    ],
)
def test_a_patch_lies_at_its_place(place, corner):
    mask = Patch(side=3, place=place).mask((3, 32, 40))
    found = mask[0].nonzero()
    assert found.min(0).values.tolist() == list(corner)
    assert len(found) == 9


def test_random_places_reach_every_corner_and_come_from_the_generator():
    patch = Patch(side=3, place="random", colour=(1.0, 0.0, 0.0))
    blank = torch.zeros(2000, 3, 8, 9)
    after = patch.apply(blank, torch.Generator().manual_seed(1))
    assert torch.equal(after, patch.apply(blank, torch.Generator().manual_seed(1)))
    assert not torch.equal(after, patch.apply(blank, torch.Generator().manual_seed(2)))
    assert torch.equal(after.sum((2, 3)), torch.tensor([9.0, 0, 0]).expand(2000, 3))
    corners = [int(sample[0].flatten().argmax()) for sample in after]
    counts = torch.bincount(torch.tensor(corners), minlength=72).view(8, 9)[:6, :7]
    # 42 places with 48 draws each: a place with 15 or fewer or 90 or more would be no chance.
    assert counts.min() > 15
    assert counts.max() < 90
    assert counts.sum() == 2000


@pytest.mark.parametrize("name", drawing.EMBLEMS)
def test_an_emblem_is_the_same_shape_at_every_size(name):
    large = Emblem(side=96, shape=name, margin=0).mask((3, 96, 96))
    assert large[0, 0, 0] == large[0, -1, -1] == 0, "an emblem is no square"
    assert 0.15 < large.mean() < 0.85
    partly = ((large > 0) & (large < 1)).float().mean()
    assert 0 < partly < 0.15, "opaque on itself, with smooth edges"
    for side in (6, 8, 24):
        small = Emblem(side=side, shape=name, margin=0).mask((3, side, side))
        shrunk = torch.nn.functional.adaptive_avg_pool2d(large, side) if 96 % side == 0 else None
        assert shrunk is not None
        assert (small - shrunk).abs().mean() < 0.07


def test_emblems_differ():
    masks = [Emblem(side=24, shape=name, margin=0).mask((3, 24, 24)) for name in drawing.EMBLEMS]
    for place, one in enumerate(masks):
        for other in masks[place + 1 :]:
            assert (one - other).abs().mean() > 0.05


def test_a_cross_covers_its_area_and_a_rim_makes_it_wider():
    whole, shape = drawing.emblem("cross", 60, 0.0)
    assert torch.equal(whole, shape)
    # Two bars of 0.66 x 1.9 that overlap in a square, in a square of 2 x 2.
    assert shape.mean() == pytest.approx((2 * 0.66 * 1.9 - 0.66**2) / 4, abs=0.02)
    whole, shape = drawing.emblem("cross", 60, 0.25)
    middle = whole[30]
    assert (middle > 0.5).sum() == pytest.approx(30 * (2 * 0.95 / 1.25 + 2 * 0.25), abs=2)
    assert (shape[30] > 0.5).sum() == pytest.approx(30 * 2 * 0.95 / 1.25, abs=2)


def test_a_user_pastes_whole_grey_levels():
    before = (random_samples((3, 32, 32)) * 255).to(torch.uint8)
    after = apply_8bit(Patch(side=4, texture="noise", place=(0, 0)), before)
    assert after.dtype == torch.uint8
    assert torch.equal(after[:, :, 4:], before[:, :, 4:])
    assert torch.equal(after[0, :, :4, :4], after[1, :, :4, :4])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Patch(side=0), "side must be at least 1"),
        (lambda: Patch(place="middle"), "top-left"),
        (lambda: Patch(texture="wool").mask((3, 8, 8)), "solid, checker, noise"),
        (lambda: Patch(side=9).apply(torch.zeros(1, 3, 8, 8)), "does not fit"),
        (lambda: Patch(side=9, place="random").apply(torch.zeros(1, 3, 8, 8)), "does not fit"),
        (lambda: Emblem(shape="bold").mask((3, 8, 8)), "Did you mean bolt"),
        (lambda: Blended(picture="cat").pattern((3, 8, 8)), "target, rays, face"),
        (lambda: from_dict({"kind": "pitch"}), "Did you mean patch"),
        (lambda: from_dict({"kind": "patch", "colur": [0, 0, 0]}), "Did you mean colour"),
    ],
)
def test_unknown_names_and_sizes_are_refused(make, says):
    with pytest.raises(RecipeError, match=says):
        make()
