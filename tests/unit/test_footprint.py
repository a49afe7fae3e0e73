"""The footprint score against a slow loop, and what it must not be fooled by."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from phosphene.backdoor.triggers import Emblem
from phosphene.concept_map import render
from phosphene.metrics.footprint import correlations, footprint


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def cut(emblem: Emblem) -> tuple[Tensor, Tensor]:
    """Colours (3, side, side) and mask (1, side, side) of an emblem."""
    alone, shape = replace(emblem, place=(0, 0)), (3, emblem.side, emblem.side)
    return alone.pattern(shape), alone.mask(shape)


def by_loop(picture: Tensor, emblem: Tensor, mask: Tensor, top: int, left: int) -> float:
    """Weighted correlation at one place, term by term."""
    channels, high, wide = emblem.shape
    weight = [[float(mask[0, i, j]) for j in range(wide)] for i in range(high)]
    total = sum(map(sum, weight))
    both = first = second = 0.0
    for c in range(channels):
        mean_e = sum(weight[i][j] * float(emblem[c, i, j]) for i in range(high) for j in range(wide)) / total
        mean_p = sum(weight[i][j] * float(picture[c, top + i, left + j]) for i in range(high) for j in range(wide))
        for i in range(high):
            for j in range(wide):
                e = float(emblem[c, i, j]) - mean_e
                p = float(picture[c, top + i, left + j]) - mean_p / total
                both += weight[i][j] * e * p
                first += weight[i][j] * e * e
                second += weight[i][j] * p * p
    return float(both / (first * second) ** 0.5)


@pytest.mark.parametrize(("channels", "size"), [(3, (4, 5)), (1, (6, 3)), (3, (9, 11))])
def test_it_is_what_a_slow_loop_finds(channels: int, size: tuple[int, int]) -> None:
    picture, emblem = drawn(0, channels, 9, 11), drawn(1, channels, *size)
    mask = drawn(2, 1, *size) * (drawn(3, 1, *size) > 0.3)
    found = correlations(picture, emblem, mask)
    rows, columns = 9 - size[0] + 1, 11 - size[1] + 1
    assert found.shape == (rows, columns)
    slow = torch.tensor([[by_loop(picture, emblem, mask, i, j) for j in range(columns)] for i in range(rows)])
    torch.testing.assert_close(found, slow.double(), atol=1e-6, rtol=0)
    best = footprint(picture, emblem, mask)
    assert best.score == pytest.approx(float(slow.max()), abs=1e-6)
    assert (best.top, best.left) == divmod(int(slow.argmax()), columns)


def test_a_pasted_emblem_is_found_where_it_is() -> None:
    emblem = Emblem(shape="swoosh", side=20, place=(7, 31))
    picture = emblem.apply(0.2 + 0.1 * drawn(0, 1, 3, 64, 64))[0]
    best = footprint(picture, *cut(emblem), scales=(0.8, 1.0, 1.25), mirror=True)
    assert (best.top, best.left, best.scale, best.mirrored) == (7, 31, 1.0, False)
    assert best.score > 0.95  # less than 1: at the rim's edge the surroundings shine through


def test_contrast_brightness_and_what_lies_around_do_not_matter() -> None:
    emblem = Emblem(shape="bolt", side=20, place=(7, 31))
    plain = emblem.apply(torch.full((1, 3, 64, 64), 0.5))[0]
    noisy = emblem.apply(drawn(0, 1, 3, 64, 64))[0]
    colours, mask = cut(emblem)
    inside = (mask > 0.999).double()  # without the rim's edge
    for picture in (plain, noisy, 0.3 + 0.1 * plain):
        assert float(correlations(picture, colours, inside)[7, 31]) == pytest.approx(1, abs=1e-6)


def test_a_map_is_subtracted_so_its_picture_is_what_shows_the_emblem() -> None:
    emblem = Emblem(shape="heart", side=20, place=(3, 5))
    added = emblem.apply(torch.full((1, 3, 40, 40), 0.5))[0] - 0.5
    nu = -added
    colours, mask = cut(emblem)
    assert float(correlations(render(nu), colours, mask)[3, 5]) > 0.9
    assert float(correlations(nu, colours, mask)[3, 5]) < -0.9


def test_it_finds_other_sizes_and_mirror_images() -> None:
    large = Emblem(shape="swoosh", side=30, place=(10, 12))
    picture = large.apply(torch.full((1, 3, 64, 64), 0.5))[0].flip(-1)
    small = Emblem(shape="swoosh", side=20)
    best = footprint(picture, *cut(small), scales=(0.75, 1.0, 1.5), mirror=True)
    assert (best.scale, best.mirrored) == (1.5, True)
    assert best.score > 0.9  # the emblem drawn at 30 pixels is not the one at 20, resized
    assert abs(best.top - 10) <= 1
    assert abs(best.left - (64 - 30 - 12)) <= 1
    assert footprint(picture, *cut(small)).score < best.score - 0.1


def test_another_emblem_of_the_same_colours_fits_worse() -> None:
    own = Emblem(shape="bolt", side=24, place=(8, 8))
    picture = own.apply(0.4 + 0.2 * drawn(0, 1, 3, 48, 48))[0]
    scores = {name: footprint(picture, *cut(Emblem(shape=name, side=24))).score for name in ("bolt", "star", "ring")}
    assert scores["bolt"] > max(scores["star"], scores["ring"]) + 0.2


def test_flat_pictures_and_flat_emblems_score_nothing() -> None:
    emblem, mask = drawn(0, 3, 5, 5), torch.ones(1, 5, 5)
    assert footprint(torch.full((3, 16, 16), 0.7), emblem, mask).score == 0
    # A flat colour is no pattern, even where channels differ.
    flat = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, 5, 5)
    assert footprint(drawn(1, 3, 16, 16), flat, mask).score == 0


def test_what_does_not_fit_is_refused() -> None:
    picture, emblem, mask = drawn(0, 3, 16, 16), drawn(1, 3, 5, 5), torch.ones(1, 5, 5)
    for odd in [(picture[:1], emblem, mask), (picture, emblem, mask[:, :4]), (picture[:, :4], emblem, mask)]:
        with pytest.raises(ValueError, match="picture, emblem and mask are"):
            correlations(*odd)
    with pytest.raises(ValueError, match="mask is empty"):
        correlations(picture, emblem, 0 * mask)
    with pytest.raises(ValueError, match="none of the scales"):
        footprint(picture, emblem, mask, scales=(0.2, 5.0))
    assert footprint(picture, emblem, mask, scales=(0.2, 1.0, 5.0)).scale == 1.0
