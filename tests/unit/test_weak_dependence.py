"""What benchmarks.maps.weak_dependence concludes from figures, on cases whose answer is plain."""

import itertools

import pytest
import torch
from benchmarks.maps.weak_dependence.likeness import (
    DESCRIPTIONS,
    alike,
    correlation,
    design,
    judge,
    kept,
    kinds,
    verdict,
)

SURE = 0.02


@pytest.mark.parametrize(
    ("nothing", "after", "word"),
    [
        (1.0, 0.9, "keeps"),
        (1.0, 0.3, "keeps"),
        (1.0, 0.1, "forgets"),
        (0.5, 0.0, "forgets"),
        (0.1, 0.1, "says nothing"),
    ],
)
def test_verdicts_over_a_floor_of_a_tenth(nothing: float, after: float, word: str) -> None:
    assert verdict((nothing, SURE), (0.1, SURE), (after, SURE), 5, read=False) == word


def test_what_somebody_reads_says_something() -> None:
    assert verdict((0.1, SURE), (0.1, SURE), (0.1, SURE), 5, read=True) == "forgets"


def test_scatter_leaves_it_undecided_unless_the_excess_is_small() -> None:
    assert verdict((1.0, 0.0), (0.0, 0.4), (0.3, 0.4), 5, read=False) == "undecided"
    assert verdict((1.0, 0.0), (0.0, 0.4), (0.05, 0.4), 5, read=False) == "forgets"


def test_kept_runs_from_two_classes_to_nothing_changed() -> None:
    assert kept(0.9, 0.1, 0.1) == 0
    assert kept(0.9, 0.1, 0.9) == pytest.approx(1)
    assert kept(0.1, 0.1, 0.9) is None  # nothing to keep


def toy() -> tuple[dict[tuple[str, str, int], torch.Tensor], dict[str, list]]:
    """Maps that show the image alone, and the pairs of three images of three classes."""
    networks = ["a", "b", "c", *(f"depth {number}" for number in range(5))]
    pictures = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = {
        (network, f"{image}{again}", index): pictures[image]
        for network, image, again, index in itertools.product(networks, range(3), ["", "-again"], range(3))
    }
    pairs = kinds(networks[:3], range(3), [(str(i), i) for i in range(3)], [("0", "1"), ("0", "2")])
    return maps, pairs


def test_pairs_differ_in_what_they_are_called() -> None:
    _, pairs = toy()
    differs = {
        "nothing": (False, True, False),  # the image trembles
        "other image": (False, True, False),
        "other class": (False, False, True),
        "other training": (True, False, False),
        "two classes": (False, True, True),
        "depth 1": (True, False, False),
        "two random": (False, True, True),
    }
    for kind, wanted in differs.items():
        for one, other in pairs[kind]:
            assert tuple(x != y for x, y in zip(one, other, strict=True)) == wanted, kind
    assert all(place[0] == "depth 4" for pair in pairs["two random"] for place in pair)


def test_a_method_that_sees_the_image_alone_keeps_everything() -> None:
    maps, pairs = toy()
    found = {kind: alike(maps, some, {"pixels": correlation}) for kind, some in pairs.items()}
    assert found["depth 4"]["pixels"] == [1, 0]
    assert judge(found, read=False) == {"pixels": {"word": "keeps", "kept": 1}}


def test_its_maps_survive_and_their_design_is_the_image_alone() -> None:
    maps, _ = toy()
    places = [(network, str(image), image) for image in range(3) for network in ("a", "depth 1")]
    found = design(maps, places, {"map": 3, "training": 2})
    assert found["pixels"]["map"] + found["pixels"]["constant"] == pytest.approx(1)


def test_blank_maps_are_counted_and_left_out() -> None:
    maps, pairs = toy()
    maps |= {place: torch.zeros(1, 32, 32) for place in maps if place[0] == "depth 1" and place[1] != "0"}
    found = {kind: alike(maps, some, {"pixels": correlation}) for kind, some in pairs.items()}
    assert (found["depth 1"]["pairs"], found["depth 1"]["blank"]) == (1, 2)
    assert judge(found, read=False)["pixels"]["word"] == "blank"


def test_the_spectrum_is_blind_to_place_and_pixels_are_not() -> None:
    picture = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
    stripes = 0.5 + 0.5 * torch.sin(torch.arange(64) * 1.3)[None, :, None].expand(1, 64, 64) * picture
    moved = stripes.roll((9, 5), (1, 2))
    spectrum, pixels = DESCRIPTIONS["spectrum"], DESCRIPTIONS["pixels"]
    assert correlation(spectrum(stripes), spectrum(moved)) > 0.9
    assert correlation(spectrum(stripes), spectrum(stripes.transpose(1, 2))) < 0.5
    assert correlation(pixels(stripes), pixels(moved)) < 0.5
