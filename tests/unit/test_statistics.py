"""The penalty on feature statistics: its value and gradient by the definition, and that it depends on its own map's images only."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.engine.statistics import ChannelMoments, FeatureStatistics, norms
from phosphene.errors import RecipeError
from phosphene.mapper import map_jobs
from phosphene.mapper.views import mean_view_gradients
from phosphene.recipe import resolve
from tests import hand, tiny
from tests.twice import assert_same_map

SHARE = 0.3


@pytest.fixture
def engine():
    with Engine(tiny.classifier(), precision="fp64") as opened:
        yield opened


def noise(*shape, seed=0):
    """Random bytes of a shape."""
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def convolutions(engine, images):
    """What the tiny network's two convolutions give for images in [0, 1]; its last layer has no positions."""
    space, module = engine.classifier.input, engine.classifier.module
    mean, std = (torch.tensor(one, dtype=torch.float64)[:, None, None] for one in (space.mean, space.std))
    first = module[0]((images - mean) / std)
    return [first, module[3](module[2](module[1](first)))]


def divergence_by_definition(engine, samples, images):
    """The mean over layers and channels of KL(images || samples) between normal densities."""
    layers = []
    for usual, found in zip(convolutions(engine, samples.double() / 255), convolutions(engine, images), strict=True):
        densities = [Normal(one.mean((0, 2, 3)), one.std((0, 2, 3), correction=0)) for one in (found, usual)]
        layers.append(kl_divergence(*densities).mean())
    return sum(layers) / len(layers)


def test_divergence_and_gradient_are_those_of_the_definition(engine):
    samples, images = noise(40, 3, 16, 16), noise(6, 3, 16, 16, seed=1).double() / 255
    images = (images * torch.linspace(0.3, 1, 6)[:, None, None, None]).requires_grad_()
    statistics, owner = engine.feature_statistics(samples, SHARE), torch.tensor([0, 0, 0, 0, 1, 1])
    with statistics.reading() as features:
        engine._network(images)
    found = statistics.divergence(features, owner)
    (slopes,) = torch.autograd.grad(found.sum(), images)
    for row in range(2):
        own = images[owner == row].detach().requires_grad_()
        expected = divergence_by_definition(engine, samples, own)
        (slope,) = torch.autograd.grad(expected, own)
        # Variances have a floor, and the definition has none.
        torch.testing.assert_close(found[owner == row], expected.detach().expand(len(own)), rtol=0.02, atol=1e-6)
        torch.testing.assert_close(slopes[owner == row], len(own) * slope, rtol=0.02, atol=1e-4)


def test_its_gradient_is_a_share_of_the_loss_at_every_image(engine):
    statistics = engine.feature_statistics(noise(40, 3, 16, 16), SHARE)
    nu = 0.1 * torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    batch, classes = noise(4, 1, 3, 16, 16, seed=1), torch.tensor([1, 3, 0, 2])
    plain = engine.mean_gradients(batch, nu, classes, "log-odds")
    found = engine.mean_gradients(batch, nu, classes, "log-odds", statistics.penalty)
    shares = norms(found.gradient - plain.gradient) / norms(plain.gradient)
    torch.testing.assert_close(shares, torch.full_like(shares, SHARE))
    torch.testing.assert_close(found.loss, plain.loss)


def test_the_samples_themselves_have_no_divergence(engine):
    samples = noise(32, 3, 16, 16)
    statistics = engine.feature_statistics(samples, SHARE)
    with statistics.reading() as features:
        engine.logits(samples / 255)
    assert statistics.divergence(features, torch.zeros(32, dtype=torch.int64)).abs().max() < 1e-6


def test_the_views_of_a_map_share_their_statistics(engine):
    """A view per sample, each the map itself, gives the gradient of all samples less the map."""
    samples, batch, classes = noise(40, 3, 16, 16), noise(2, 4, 3, 16, 16, seed=1), torch.tensor([1, 3])
    nu = 0.1 * torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    still = torch.eye(2, 3, dtype=torch.float64).expand(8, 2, 3)
    statistics = engine.feature_statistics(samples, SHARE)
    whole, viewed = (
        mean_view_gradients(engine, batch, nu, views, classes, "log-odds", statistics) for views in (None, still)
    )
    torch.testing.assert_close(viewed.gradient, whole.gradient)


def test_a_map_does_not_depend_on_those_beside_it(pool, network):
    recipe = resolve("vivid", {"steps": 3, "statistics": 0.3})
    with Engine(network, precision="fp64") as engine:
        together = map_jobs(engine, pool, [Job(0), Job(4)], recipe)
        assert_same_map(map_jobs(engine, pool, [Job(4)], recipe)[0], together[1])
        without = map_jobs(engine, pool, [Job(4)], recipe.replace(statistics=0.0))[0]
    assert not torch.allclose(without.nu, together[1].nu)


def test_moments_have_their_gradient_also_where_a_network_overwrites_its_feature_maps():
    grid = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ChannelMoments.apply, grid)
    slopes = []
    for inplace in (False, True):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with Engine(Classifier(module, size=16), precision="fp64") as engine:
            statistics = engine.feature_statistics(noise(8, 3, 16, 16), SHARE)
            nu, batch = torch.zeros(1, 3, 16, 16, dtype=torch.float64), noise(1, 4, 3, 16, 16, seed=1)
            slopes.append(engine.mean_gradients(batch, nu, torch.tensor([1]), penalty=statistics.penalty).gradient)
    torch.testing.assert_close(*slopes)


class Tokens(nn.Module):
    """Patches with positions from an embedding, as CLIP has them, then a layer that sees four tokens at a time, as Swin's do."""

    def __init__(self):
        super().__init__()
        self.patches, self.positions = nn.Conv2d(3, 8, 4, stride=4), nn.Embedding(16, 8)
        self.windows, self.mixed, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions(torch.arange(16)[None])
        windows = self.windows(tokens.reshape(-1, 4, 8)).reshape(-1, 16, 8)
        return self.head(self.mixed(windows.relu()).relu().mean(1))


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_layers_of_a_transformer_are_those_with_tokens_of_every_image(batch):
    torch.manual_seed(0)
    classifier = Classifier(Tokens(), size=16, batch=batch)
    with Engine(classifier, precision="fp64") as engine:
        statistics = engine.feature_statistics(noise(9, 3, 16, 16), SHARE)
        if batch is None:
            assert statistics.layers == [classifier.module.patches, classifier.module.mixed]
        nu = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
        given = engine.mean_gradients(noise(1, 4, 3, 16, 16), nu, torch.tensor([1]), penalty=statistics.penalty)
        plain = engine.mean_gradients(noise(1, 4, 3, 16, 16), nu, torch.tensor([1]))
    assert given.gradient.isfinite().all()
    assert not torch.allclose(given.gradient, plain.gradient)


def test_they_are_measured_once_per_samples(engine):
    samples = noise(8, 3, 16, 16)
    first = engine.feature_statistics(samples, SHARE)
    assert engine.feature_statistics(samples, SHARE) is first
    assert engine.feature_statistics(samples, 2 * SHARE) is not first
    assert engine.feature_statistics(samples.clone(), SHARE) is not first


def test_a_network_without_layers_to_read_is_refused():
    with Engine(hand.classifier()) as engine, pytest.raises(RecipeError, match=r"no layer .* use statistics=0"):
        FeatureStatistics(engine, noise(8, 3, 16, 16), SHARE)
