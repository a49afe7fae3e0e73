"""The divergence of feature statistics: its value and gradient by the definition, and that it depends on its own map's images only."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.engine import statistics as statistics_module
from phosphene.engine.gradients import norm
from phosphene.engine.statistics import ChannelMoments, FeatureStatistics, Prior, averaged, is_measured
from phosphene.errors import CardError, RecipeWarning
from phosphene.mapper import MapOptimization, map_jobs
from phosphene.mapper.views import mean_view_gradients
from phosphene.recipe import resolve
from phosphene.samples.pool import make_pool
from tests import tiny
from tests.twice import assert_same_map

SHARE = 0.3


@pytest.fixture
def engine(monkeypatch):
    """Both of the tiny network's convolutions are read."""
    monkeypatch.setattr(statistics_module, "READ_SHARE", 1.0)
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
    statistics, owner = engine.feature_statistics(samples), torch.tensor([0, 0, 0, 0, 1, 1])
    with statistics.collecting_features() as features:
        engine._network(images)
        found = statistics.divergence(features, owner)
    assert not features, "they hold the feature maps of the whole pass"
    (slopes,) = torch.autograd.grad(found.sum(), images)
    for row in range(2):
        own = images[owner == row].detach().requires_grad_()
        expected = divergence_by_definition(engine, samples, own)
        (slope,) = torch.autograd.grad(expected, own)
        # Variances have a floor, and the definition has none.
        torch.testing.assert_close(found[owner == row], expected.detach().expand(len(own)), rtol=0.02, atol=1e-6)
        torch.testing.assert_close(slopes[owner == row], len(own) * slope, rtol=0.02, atol=1e-4)


def test_its_gradient_is_a_share_of_the_loss_when_it_is_measured_and_later_has_the_same_weight(engine):
    prior = Prior(engine.feature_statistics(noise(40, 3, 16, 16)), SHARE)
    nu = 0.1 * torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    batch, classes = noise(4, 1, 3, 16, 16, seed=1), torch.tensor([1, 3, 0, 2])
    plain = engine.mean_gradients(batch, nu, classes, "log-odds")
    found = engine.mean_gradients(batch, nu, classes, "log-odds", prior)
    added = found.gradient - plain.gradient
    torch.testing.assert_close(norm(added) / norm(plain.gradient), torch.full((4, 1, 1, 1), SHARE, dtype=nu.dtype))
    torch.testing.assert_close(found.loss, plain.loss)
    later = engine.mean_gradients(batch, nu, classes, "log-odds", prior._replace(weight=2 * found.weight))
    torch.testing.assert_close(later.gradient, plain.gradient + 2 * added)
    torch.testing.assert_close(later.weight, 2 * found.weight)


def test_the_weight_is_measured_again_whenever_the_steps_have_doubled(network, pool, monkeypatch):
    weights, taken = [], []
    monkeypatch.setattr(
        "phosphene.mapper.algorithm.mean_view_gradients",
        lambda *given: weights.append(given[-1].weight) or taken.append(mean_view_gradients(*given)) or taken[-1],
    )
    recipe = resolve("vivid", {"steps": 9, "statistics": SHARE})
    with Engine(network, precision="fp64") as engine:
        (found,) = map_jobs(engine, pool, [Job(0)], recipe)
    assert [k for k, weight in enumerate(weights, 1) if weight is None] == [1, 2, 4, 8]
    assert [k for k in range(1, 10) if is_measured(k)] == [1, 2, 4, 8]
    assert all(weights[k] is taken[k - 1].weight for k in (2, 4, 5, 6, 8))
    assert found.passes == 8 * (2 * 9 + 4)


def test_the_largest_feature_maps_are_not_read():
    """The first layer has 8 x 16 x 16 values, the second 4 x 16 x 16, the third 4 x 8 x 8, which is less than a quarter of all."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 4, 1),
        nn.Conv2d(4, 4, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    with Engine(Classifier(module, size=16)) as engine:
        assert engine.feature_statistics(noise(8, 3, 16, 16)).layers == [module[2]]
    with Engine(Classifier(module[:1].append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()), size=16)) as engine:
        assert engine.feature_statistics(noise(8, 3, 16, 16)).layers == [module[0]]  # one is always


def calls_and_divergence(engine):
    """How often each layer is called in a pass of samples, and the largest divergence of these from their own statistics."""
    samples = noise(8, 3, 16, 16)
    statistics = engine.feature_statistics(samples)
    with statistics.collecting_features() as features:
        engine.logits(samples / 255)
        calls = [len(one) for one in features.values()]
        return calls, statistics.divergence(features, torch.zeros(8, dtype=torch.int64)).abs().max()


def test_the_samples_themselves_have_no_divergence(engine):
    calls, divergence = calls_and_divergence(engine)
    assert calls == [1, 1]
    assert divergence < 1e-6


def test_the_views_of_a_map_share_their_statistics(engine):
    """A view per sample, each the map itself, gives the gradient of all samples less the map."""
    samples, batch, classes = noise(40, 3, 16, 16), noise(2, 4, 3, 16, 16, seed=1), torch.tensor([1, 3])
    nu = 0.1 * torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    still = torch.eye(2, 3, dtype=torch.float64).expand(8, 2, 3)
    prior = Prior(engine.feature_statistics(samples), SHARE)
    whole, viewed = (
        mean_view_gradients(engine, batch, nu, views, classes, "log-odds", prior) for views in (None, still)
    )
    torch.testing.assert_close(viewed.gradient, whole.gradient)


@pytest.mark.parametrize("micro_batch", [3, 12, 43])
def test_a_map_does_not_depend_on_those_beside_it(pool, network, micro_batch):
    """Of 8 images per map, a micro-batch of 12 would hold one map and half of the next."""
    recipe = resolve("vivid", {"steps": 3, "statistics": 0.3})
    with Engine(network, precision="fp64", micro_batch=micro_batch) as engine:
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
            prior = Prior(engine.feature_statistics(noise(8, 3, 16, 16)), SHARE)
            nu, batch = torch.zeros(1, 3, 16, 16, dtype=torch.float64), noise(1, 4, 3, 16, 16, seed=1)
            slopes.append(engine.mean_gradients(batch, nu, torch.tensor([1]), prior=prior).gradient)
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
def test_layers_of_a_transformer_are_those_with_tokens_of_every_image(batch, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(statistics_module, "READ_SHARE", 1.0)
    classifier = Classifier(Tokens(), size=16, batch=batch)
    with Engine(classifier, precision="fp64") as engine:
        statistics = engine.feature_statistics(noise(9, 3, 16, 16))
        layers = [part for part in (classifier.module.patches, classifier.module.mixed) if part in statistics.layers]
        assert len(layers) == 2
        assert batch == 1 or statistics.layers == layers  # one image's positions look like those of all
        nu = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
        given = engine.mean_gradients(noise(1, 4, 3, 16, 16), nu, torch.tensor([1]), prior=Prior(statistics, SHARE))
        plain = engine.mean_gradients(noise(1, 4, 3, 16, 16), nu, torch.tensor([1]))
    assert given.gradient.isfinite().all()
    assert not torch.allclose(given.gradient, plain.gradient)


def test_synthetic_samples_have_none(network):
    recipe = resolve("vivid", {"steps": 2})
    samples = make_pool(noise(8, 3, 96, 96), "synthetic:noise")
    with Engine(network, precision="fp64") as engine:
        (found,) = map_jobs(engine, samples, [Job(1)], recipe)
        (expected,) = map_jobs(engine, samples, [Job(1)], recipe.replace(statistics=0.0))
    assert_same_map(found, expected)


@pytest.mark.parametrize("most", [10, 1])
def test_where_memory_runs_out_every_sample_counts_once(monkeypatch, most):
    """With room for one image, the layers are found anew, too."""
    monkeypatch.setattr(statistics_module, "READ_SHARE", 1.0)
    samples, found = noise(40, 3, 16, 16), []
    for limit in (64, most):
        classifier = tiny.classifier()
        tiny.limit_memory(classifier.module[2], limit)
        with Engine(classifier, precision="fp64", micro_batch=32) as engine:
            found.append(engine.feature_statistics(samples))
    for one, expected in zip(found[1].of_samples, found[0].of_samples, strict=True):
        torch.testing.assert_close(one, expected)


def test_they_are_measured_once_per_samples(engine, monkeypatch):
    samples, measured = make_pool(noise(8, 3, 16, 16), "noise"), []
    monkeypatch.setattr("phosphene.engine.engine.FeatureStatistics", lambda *_: measured.append(1) or made)
    made = FeatureStatistics(engine, samples.pixels)
    for concept in (1, 3):
        MapOptimization(engine, samples, [Job(concept)], resolve("vivid", {"statistics": SHARE}))
    assert len(measured) == 1
    assert engine.feature_statistics(samples.pixels.clone()) is made
    assert len(measured) == 2


def test_a_layer_that_is_called_twice_counts_with_both_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.layer(self.layer(x)).mean((2, 3))

    with Engine(Classifier(Twice(), size=16), precision="fp64") as engine:
        calls, divergence = calls_and_divergence(engine)
    assert calls == [2]
    assert divergence < 1e-6


def test_a_layer_that_is_also_called_on_more_images_counts_with_those_of_the_batch():
    class Mirrored(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            both = self.layer(torch.cat([x, x.flip(3)]))
            return (self.layer(x) + both[: len(x)] + both[len(x) :]).mean((2, 3))

    with Engine(Classifier(Mirrored(), size=16), precision="fp64") as engine:
        calls, divergence = calls_and_divergence(engine)
    assert calls == [2]
    assert divergence < 1e-6


def test_what_is_not_finite_stays_with_its_own_map():
    values, owner = (
        torch.tensor([[1.0, torch.nan], [3.0, torch.inf], [5.0, 2.0], [7.0, 4.0]]),
        torch.tensor([0, 0, 1, 1]),
    )
    assert averaged(values, owner)[2:].tolist() == [[6.0, 3.0]] * 2
    assert averaged(values, owner)[:2, 0].tolist() == [2.0, 2.0]


def test_a_network_without_gradient_is_refused_as_without_statistics():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 5, 3)

        def forward(self, x):
            return self.layer(x.detach()).mean((2, 3))

    recipe = resolve("vivid", {"statistics": SHARE})
    with Engine(Classifier(Detached(), size=16)) as engine, pytest.raises(CardError, match=r"no gradient .*detach"):
        map_jobs(engine, make_pool(noise(8, 3, 16, 16), "noise"), [Job(1)], recipe)


def test_a_network_without_layers_to_read_is_mapped_without_statistics():
    torch.manual_seed(0)
    module, recipe = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 5)), resolve("vivid", {"steps": 3})
    with Engine(Classifier(module, size=16)) as engine:
        samples = make_pool(noise(8, 3, 16, 16), "noise")
        with pytest.warns(RecipeWarning, match=r"no layer .* without statistics") as lines:
            given = [map_jobs(engine, samples, [Job(1)], recipe.replace(statistics=SHARE)) for _ in range(2)]
        (expected,) = map_jobs(engine, samples, [Job(1)], recipe.replace(statistics=0.0))
    assert len(lines) == 1
    for (found,) in given:
        assert_same_map(found, expected)
