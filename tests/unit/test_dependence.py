"""Shares of a design of maps, against designs whose answer is known."""

import itertools

import pytest
import torch
from benchmarks.maps.weak_dependence.shares import shares

FACTORS = ["image", "class", "network"]


def noise(*levels: int, seed: int = 0, size: int = 4000) -> torch.Tensor:
    return torch.randn(*levels, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", range(3))
def test_maps_made_by_one_factor_give_it_everything(factor: int) -> None:
    levels = [1, 1, 1]
    levels[factor] = 4
    found = shares(noise(*levels).expand(4, 4, 4, -1), FACTORS)
    assert found[FACTORS[factor]] == pytest.approx(1, abs=0.01)


def test_pure_noise_is_nobodys() -> None:
    """Plain sums of squares would give the network a third here: it has 2 levels of 2 x 2 x 2 maps."""
    found = shares(noise(2, 2, 2), FACTORS)
    assert found["image x class x network"] > 0.9


def test_a_sum_is_taken_apart() -> None:
    """Independent parts of energy 1, 4, 2 and 1 of 8; what all maps share is drawn once."""
    maps = noise(1, 1, 1) + 2 * noise(6, 1, 1, seed=1) + 2**0.5 * noise(1, 5, 4, seed=2) + noise(6, 5, 4, seed=3)
    found = shares(maps, FACTORS)
    wanted = {"constant": 1, "image": 4, "class x network": 2, "image x class x network": 1}
    for name, share in found.items():
        assert share == pytest.approx(wanted.get(name, 0) / 8, abs=0.02), name
    assert sum(found.values()) == pytest.approx(1)
    combinations = [" x ".join(c) for size in (1, 2, 3) for c in itertools.combinations(FACTORS, size)]
    assert list(found) == ["constant", *combinations]


def test_brightness_and_contrast_of_a_map_do_not_count() -> None:
    maps = noise(3, 3)
    changed = maps * torch.tensor([1.0, 5.0, 0.1])[:, None] + 7
    assert shares(changed, FACTORS[:2]) == pytest.approx(shares(maps, FACTORS[:2]), abs=1e-6)


def test_a_blank_map_has_no_energy() -> None:
    maps = noise(2, 1).repeat(1, 2, 1)
    maps[0, 0] = 0.5
    found = shares(maps, FACTORS[:2])
    assert all(0 <= share <= 1 for share in found.values())
    assert sum(found.values()) == pytest.approx(1)
    assert sum(shares(torch.zeros(2, 2, 9), FACTORS[:2]).values()) == 0


def test_a_design_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="2 levels"):
        shares(torch.rand(3, 1, 9), FACTORS[:2])
    with pytest.raises(ValueError, match="name each"):
        shares(torch.rand(3, 3, 9), FACTORS)
