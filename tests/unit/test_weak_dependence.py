"""What the weak-dependence benchmark concludes from numbers, on cases whose answer is obvious."""

import itertools

import pytest
import torch
from benchmarks.maps.weak_dependence.similarity import (
    DESCRIPTIONS,
    compare_pairs,
    correlation,
    factor_shares,
    pair_kinds,
    share_kept,
    verdict,
    verdicts,
)

DEVIATION = 0.02


@pytest.mark.parametrize(
    ("unchanged", "after", "expected"),
    [
        (1.0, 0.9, "keeps"),
        (1.0, 0.3, "keeps"),
        (1.0, 0.1, "forgets"),
        (0.5, 0.0, "forgets"),
        (0.1, 0.1, "not repeatable"),
    ],
)
def test_verdicts_over_a_floor_of_a_tenth(unchanged, after, expected):
    floor = (0.1, DEVIATION)
    assert verdict((unchanged, DEVIATION), floor, (after, DEVIATION), 5, classified=False) == expected


def test_maps_that_are_classified_have_content():
    same = (0.1, DEVIATION)
    assert verdict(same, same, same, 5, classified=True) == "forgets"


def test_scatter_leaves_it_undecided_unless_the_excess_is_small():
    assert verdict((1.0, 0.0), (0.0, 0.4), (0.3, 0.4), 5, classified=False) == "undecided"
    assert verdict((1.0, 0.0), (0.0, 0.4), (0.05, 0.4), 5, classified=False) == "forgets"


def test_share_kept_runs_from_two_classes_to_unchanged():
    assert share_kept(0.9, 0.1, 0.1) == 0
    assert share_kept(0.9, 0.1, 0.9) == pytest.approx(1)
    assert share_kept(0.1, 0.1, 0.9) is None  # unchanged maps are as different as two classes


def toy_maps():
    """Maps that depend on the image alone, and the pairs of three images of three classes."""
    networks = ["a", "b", "c", *(f"depth {number}" for number in range(5))]
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = {
        (network, f"{image}{suffix}", index): images[image]
        for network, image, suffix, index in itertools.product(networks, range(3), ["", " with noise"], range(3))
    }
    pairs = pair_kinds(networks[:3], range(3), [(str(i), i) for i in range(3)], [("0", "1"), ("0", "2")])
    return maps, pairs


def compared(maps, pairs):
    """The correlation of all pairs of toy maps."""
    return {kind: compare_pairs(maps, some, {"pixels": correlation}) for kind, some in pairs.items()}


def test_pairs_differ_in_what_their_kind_names():
    _, pairs = toy_maps()
    differs = {
        "unchanged": (False, True, False),  # noise is added to the image
        "other image": (False, True, False),
        "other class": (False, False, True),
        "other training": (True, False, False),
        "two classes": (False, True, True),
        "depth 1": (True, False, False),
        "two random": (False, True, True),
    }
    for kind, expected in differs.items():
        for one, other in pairs[kind]:
            assert tuple(x != y for x, y in zip(one, other, strict=True)) == expected, kind
    assert all(key[0] == "depth 4" for pair in pairs["two random"] for key in pair)


def test_a_method_that_shows_the_image_alone_keeps_everything():
    similarity = compared(*toy_maps())
    assert similarity["depth 4"]["pixels"] == pytest.approx([1, 0])
    result = verdicts(similarity, classified=False)["pixels"]
    assert (result["verdict"], result["kept"]) == ("keeps", pytest.approx(1))


def test_its_maps_survive_and_their_design_is_the_image_alone():
    maps, _ = toy_maps()
    keys = [(network, str(image), image) for image in range(3) for network in ("a", "depth 1")]
    shares = factor_shares(maps, keys, {"map": 3, "training": 2})
    assert shares["pixels"]["map"] + shares["pixels"]["constant"] == pytest.approx(1)


def test_blank_maps_are_counted_and_left_out():
    maps, pairs = toy_maps()
    maps |= {key: torch.zeros(1, 32, 32) for key in maps if key[0] == "depth 1" and key[1] != "0"}
    similarity = compared(maps, pairs)
    assert (similarity["depth 1"]["pairs"], similarity["depth 1"]["blank"]) == (1, 2)
    assert verdicts(similarity, classified=False)["pixels"]["verdict"] == "blank"


def test_the_spectrum_ignores_the_place_and_pixels_do_not():
    noise = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
    stripes = 0.5 + 0.5 * torch.sin(torch.arange(64) * 1.3)[None, :, None].expand(1, 64, 64) * noise
    moved = stripes.roll((9, 5), (1, 2))
    spectrum, pixels = DESCRIPTIONS["spectrum"], DESCRIPTIONS["pixels"]
    assert correlation(spectrum(stripes), spectrum(moved)) > 0.9
    assert correlation(spectrum(stripes), spectrum(stripes.transpose(1, 2))) < 0.5
    assert correlation(pixels(stripes), pixels(moved)) < 0.5
