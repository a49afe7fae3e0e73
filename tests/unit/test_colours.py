"""The colour preconditioner: maps vary in the colours that the samples vary in."""

import pytest
import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.mapper.smoothing import Smoothing, colour_matrix
from phosphene.recipe import Recipe
from phosphene.samples import load_samples
from phosphene.samples.pool import CORRELATION, make_pool
from tests import hand


def grey_pictures(count=40, channels=3, chroma=0.1):
    """Noise that is mostly grey: the channels share most of it."""
    draw = torch.Generator().manual_seed(0)
    shared = torch.rand((count, 1, hand.SIDE, hand.SIDE), generator=draw)
    own = torch.rand((count, channels, hand.SIDE, hand.SIDE), generator=draw)
    return make_pool(((shared + chroma * own) / (1 + chroma) * 255).to(torch.uint8), "grey noise")


def test_the_covariance_of_a_pool_is_that_of_its_pixels():
    pool = grey_pictures()
    values = pool.pixels.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(pool.colour_covariance, torch.cov(values, correction=0))


def test_the_covariance_is_measured_once_wherever_the_pool_moves():
    pool = grey_pictures()
    known = pool.colour_covariance, pool.sha256
    moved = pool.to("meta")  # where pixels have no values, so that nothing can be measured
    assert moved.pixels.is_meta
    assert moved.held_out.is_meta
    assert (moved.colour_covariance, moved.sha256) == known
    assert not pool.pixels.is_meta


def test_synthetic_samples_have_a_fixed_covariance():
    covariance = load_samples("synthetic:mixed", (3, 16, 16)).colour_covariance
    assert covariance.diagonal().tolist() == pytest.approx([1.0] * 3)
    assert covariance[0, 1] == covariance[1, 2] == CORRELATION
    assert load_samples("synthetic:mixed", (1, 16, 16)).colour_covariance.tolist() == [[1.0]]
    assert torch.equal(load_samples("synthetic:mixed", (4, 16, 16)).colour_covariance, torch.eye(4).double())


def test_with_one_noise_comes_to_vary_as_the_samples_do_and_keeps_its_deviation():
    covariance = grey_pictures().colour_covariance
    noise = torch.randn((4, 3, 64, 64), dtype=torch.double, generator=torch.Generator().manual_seed(0))
    coloured = Smoothing(0.0, noise, colour_matrix(covariance, 1.0))(noise)
    found = torch.cov(coloured.transpose(0, 1).flatten(1))
    torch.testing.assert_close(found / found.trace(), covariance / covariance.trace(), atol=0.02, rtol=0)
    assert float(coloured.std()) == pytest.approx(float(noise.std()), rel=0.02)
    half = torch.cov(Smoothing(0.0, noise, colour_matrix(covariance, 0.5))(noise).transpose(0, 1).flatten(1))
    assert found[0, 1] / found[0, 0] > half[0, 1] / half[0, 0] > 0.2


def test_it_is_its_own_transpose_and_leaves_what_it_should_alone():
    covariance = grey_pictures().colour_covariance
    basis = colour_matrix(covariance, 1.0)
    torch.testing.assert_close(basis, basis.T)
    assert colour_matrix(covariance, 0.0) is None
    torch.testing.assert_close(colour_matrix(torch.eye(3).double() * 7, 1.0), torch.eye(3).double())
    torch.testing.assert_close(colour_matrix(torch.tensor([[0.3]]), 1.0), torch.ones(1, 1).double())


@pytest.mark.parametrize("covariance", [torch.diag(torch.tensor([1.0, 0.0, 0.0])), torch.ones(3, 3)])
def test_colours_that_never_vary_are_dear_but_not_impossible(covariance):
    for exponent in (0.5, 1.0, 4.0):
        basis = colour_matrix(covariance.double(), exponent)
        assert basis.isfinite().all()
        assert float(torch.linalg.eigvalsh(basis).min()) > 0


def test_samples_of_one_colour_say_nothing():
    assert colour_matrix(torch.zeros(3, 3).double(), 1.0) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_made_with_it_are_greyer(channels):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    classifier = Classifier(net.eval(), size=hand.SIDE, mean=(0.5,) * channels, std=(0.25,) * channels)
    pool = grey_pictures(channels=channels, chroma=0.02)
    recipe = Recipe(name="test", batch_size=4, steps=12, rounds=1, refine_steps=0, sign_test=False, step_size=0.2)
    with Engine(classifier, device="cpu") as engine:
        plain, coloured = (
            map_jobs(engine, pool, [Job(2)], recipe.replace(colour=colour))[0].nu for colour in (0.0, 1.0)
        )
    if channels == 1:
        torch.testing.assert_close(coloured, plain)
        return

    def chroma(nu):
        return float((nu - nu.mean(0)).norm() / nu.norm())

    assert chroma(coloured) < 0.5 * chroma(plain)
