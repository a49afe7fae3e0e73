"""The image of a map, against the formula ``clip(0.5 - contrast nu / std(nu))``."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from phosphene.concept_map import render, to_image
from tests.tiny import concept_map
from tests.twice import assert_same_image


@pytest.mark.parametrize("contrast", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_render_is_the_formula_map_by_map(contrast, dtype):
    nu = torch.randn((3, 2, 5, 7), generator=torch.Generator().manual_seed(0), dtype=dtype)
    nu *= torch.tensor([0.01, 1.0, 40.0], dtype=dtype).view(3, 1, 1, 1)  # a deviation each
    for one, picture in zip(nu, render(nu, contrast), strict=True):
        values = one.double().numpy()
        expected = np.clip(0.5 - contrast * values / values.std(), 0, 1)  # population deviation
        np.testing.assert_allclose(picture.double().numpy(), expected, atol=1e-6)
        torch.testing.assert_close(render(one, contrast), picture)


def test_default_contrast_is_the_paper_s_and_what_is_subtracted_is_dark():
    nu = torch.tensor([[[1.0, -1.0]]])
    torch.testing.assert_close(render(nu), torch.tensor([[[0.3, 0.7]]]))


def test_a_map_of_zeros_is_grey():
    assert torch.equal(render(torch.zeros(3, 4, 4)), torch.full((3, 4, 4), 0.5))


def test_scale_does_not_matter_and_clipping_does():
    nu = torch.randn((3, 6, 6), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(render(nu), render(nu * 123.0))
    strong = render(nu, 10.0)
    assert strong.min() == 0
    assert strong.max() == 1


def test_image_rounds_to_the_nearest_byte():
    picture = torch.tensor([0.0, 0.5, 1.0, 0.2498]).view(1, 2, 2).repeat(3, 1, 1)
    pixels = np.asarray(to_image(picture))
    assert pixels.shape == (2, 2, 3)
    assert pixels[..., 0].tolist() == [[0, 128], [255, 64]]


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_are_shown_by_their_mean(channels):
    picture = torch.rand((channels, 4, 4), generator=torch.Generator().manual_seed(2))
    image = to_image(picture)
    assert image.mode == "L"
    np.testing.assert_allclose(np.asarray(image), 255 * picture.mean(0).numpy(), atol=1.01)


def test_the_image_of_a_map_has_the_contrast_of_its_recipe():
    one = concept_map(contrast=0.4)
    torch.testing.assert_close(one.pixels, render(one.nu, 0.4))
    shown = Image.open(io.BytesIO(one._repr_png_()))
    assert_same_image(shown, to_image(render(one.nu, 0.4)))
