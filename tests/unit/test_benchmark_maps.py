"""Measures of benchmarks of maps, on maps of which the answer is known."""

import pytest
import torch
from benchmarks.maps.patch_grid import grid_energy


def test_patches_of_one_level_have_all_their_energy_at_the_grid_and_noise_has_none_there():
    draw = torch.Generator().manual_seed(0)
    levels = torch.randn(3, 8, 8, generator=draw).repeat_interleave(4, 1).repeat_interleave(4, 2)
    noise = torch.randn(3, 32, 32, generator=draw)
    assert grid_energy(noise, 4) == pytest.approx(1, abs=0.15)
    assert grid_energy(levels + 0.1 * noise, 4) > 50
    assert grid_energy(levels.roll((2, 2), (1, 2)) + 0.1 * noise, 4) < 0.3, "the grid must lie where the patches begin"
