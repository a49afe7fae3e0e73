"""Similarities of pictures: what each sees, what it is blind to, and that nothing makes it fail."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage.feature import hog as skimage_hog

from phosphene.errors import ArgumentError, ExtraError
from phosphene.metrics.similarity import SIMILARITIES, hog, spectrum, ssim
from phosphene.samples import load_samples
from tests.conftest import PATIENCE


def noise(seed, shape=(3, 64, 64)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def leaves(number, side=64):
    return load_samples("synthetic:dead-leaves", (3, side, side)).pixels[number].float() / 255


@pytest.mark.parametrize("name", list(SIMILARITIES))
class TestEverySimilarity:
    @pytest.mark.parametrize("shape", [(3, 64, 64), (1, 64, 64), (3, 8, 8), (1, 8, 13), (3, 11, 40), (3, 224, 96)])
    def test_of_a_picture_and_itself_is_one_and_of_any_pair_between(self, name, shape):
        similarity = SIMILARITIES[name]
        a, b = noise(0, shape), noise(1, shape)
        assert similarity(a, a) == pytest.approx(1)
        assert -1 <= similarity(a, b) < 0.999
        assert similarity(a, b) == pytest.approx(similarity(b, a))

    def test_of_unrelated_noise_is_near_zero(self, name):
        found = [SIMILARITIES[name](noise(seed), noise(seed + 100)) for seed in range(8)]
        assert abs(sum(found) / len(found)) < 0.06

    def test_of_different_pictures_is_clearly_less_than_one(self, name):
        assert SIMILARITIES[name](leaves(0), leaves(1)) < 0.6

    @pytest.mark.parametrize("other", [noise(0), torch.full((3, 64, 64), 0.5), torch.full((3, 64, 64), 0.2)])
    def test_of_a_constant_picture_is_zero(self, name, other):
        flat = torch.full((3, 64, 64), 0.5)
        assert SIMILARITIES[name](flat, other) == 0
        assert SIMILARITIES[name](other, flat + 1e-9) == 0

    def test_of_rounding_is_zero(self, name):
        rounding = [0.5 + 1e-8 * noise(seed).double() for seed in (0, 0, 1)]
        assert SIMILARITIES[name](*rounding[:2]) == 0
        assert SIMILARITIES[name](*rounding[1:]) == 0

    def test_falls_as_noise_is_added(self, name):
        a, b = leaves(0), noise(1)
        found = [SIMILARITIES[name](a, (1 - share) * a + share * b) for share in (0, 0.2, 0.5, 1)]
        assert found == sorted(found, reverse=True)
        assert found[-1] < 0.3

    def test_takes_any_type_and_leaves_its_arguments(self, name):
        a, b = noise(0).double().requires_grad_(), noise(1)
        before = a.detach().clone(), b.clone()
        assert SIMILARITIES[name](a, b.double()) == pytest.approx(SIMILARITIES[name](a.detach().float(), b), abs=1e-5)
        assert torch.equal(a, before[0])
        assert torch.equal(b, before[1])

    @pytest.mark.parametrize("shapes", [((3, 16, 16), (3, 16, 17)), ((3, 16, 16), (1, 16, 16)), ((3, 7, 9),) * 2])
    def test_refuses_what_cannot_be_compared(self, name, shapes):
        with pytest.raises(ArgumentError, match="at least 8 x 8"):
            SIMILARITIES[name](noise(0, shapes[0]), noise(1, shapes[1]))

    def test_without_scikit_image_is_one_line_that_says_what_to_install(self, name, monkeypatch):
        monkeypatch.setitem(sys.modules, "skimage", None)  # as the import system marks what is not there
        for part in ("feature", "metrics"):
            monkeypatch.delitem(sys.modules, f"skimage.{part}", raising=False)
        if name == "spectrum":
            assert spectrum(noise(0), noise(0)) == pytest.approx(1)
            return
        with pytest.raises(ExtraError, match=r"not installed: .*pip install 'phosphene\[checks\]'") as error:
            SIMILARITIES[name](noise(0), noise(1))
        assert "\n" not in str(error.value)


def test_a_broken_scikit_image_is_told_from_a_missing_one(monkeypatch):
    def fail(name):
        raise ImportError("libgomp is gone\nsecond line")

    monkeypatch.setattr("phosphene.extras.importlib.import_module", fail)
    with pytest.raises(ExtraError, match=r"is broken \(libgomp is gone\)"):
        hog(noise(0), noise(1))


def test_inverted_contrast_is_the_same_edges_and_grain_but_other_pixels():
    a = leaves(0)
    assert hog(a, 1 - a) == pytest.approx(1)
    assert spectrum(a, 1 - a) == pytest.approx(1)
    assert ssim(a, 1 - a) < 0


def test_a_pattern_that_is_shifted_is_the_same_grain_in_other_places():
    down, across = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    dots = (((down % 16 - 8) ** 2 + (across % 16 - 8) ** 2) < 16).float().expand(3, 64, 64) + 0.02 * noise(0)
    moved = dots.roll((8, 8), (1, 2))
    assert spectrum(dots, moved) > 0.9
    assert hog(dots, moved) < 0.4


def test_natural_spectra_do_not_correlate_because_both_fall_off():
    """The raw log power spectra of any two pink pictures correlate clearly."""
    pink = load_samples("synthetic:pink", (3, 64, 64)).pixels.float() / 255
    raw = [torch.fft.fft2(one.mean(0) - one.mean()).abs().log().flatten()[1:].numpy() for one in pink[:2]]
    assert np.corrcoef(*raw)[0, 1] > 0.3
    found = [spectrum(pink[row], pink[row + 1]) for row in range(0, 16, 2)]
    assert abs(sum(found) / len(found)) < 0.1


def test_spectra_see_directions():
    ramp = torch.linspace(0, 12 * torch.pi, 64)
    across = (0.5 + 0.4 * ramp.sin()).expand(3, 64, 64) + 0.05 * noise(0)
    assert spectrum(across, across.mT) < 0.2
    assert spectrum(across, across.roll(3, 2)) > 0.5


def test_hog_is_the_correlation_of_scikit_images_descriptors():
    a, b = leaves(0, 224), leaves(1, 224)
    keys = {"pixels_per_cell": (16, 16), "cells_per_block": (3, 3), "orientations": 9, "block_norm": "L2-Hys"}
    first, second = (skimage_hog(one.double().mean(0).numpy(), **keys) for one in (a, b))
    assert hog(a, b) == pytest.approx(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize(("contrast", "tolerance"), [(1, 0.02), (0.05, 0.005)])
def test_ssim_by_hand_on_a_scaled_picture(contrast, tolerance):
    """At half the contrast luminance agrees; what is left is (2 s v + C) / (v + s^2 v + C), s 0.5, v the variance."""
    a = 0.5 + contrast * (noise(0, (1, 64, 64)) - 0.5)
    half = 0.5 + 0.5 * (a - 0.5)
    variance = contrast**2 / 12
    by_hand = (2 * 0.5 * variance + 0.0009) / (1.25 * variance + 0.0009)
    assert ssim(a, half) == pytest.approx(by_hand, abs=tolerance)


def test_scikit_image_is_loaded_only_when_pictures_are_compared():
    code = "import sys, phosphene.checks; print('skimage' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.strip() == "False"
