"""Randomised copies: which blocks, in which order, and that only they change."""

import copy
import dataclasses
import itertools
import warnings

import pytest
import torch
from torch import nn

from phosphene.checks import CheckContext, examine
from phosphene.checks.randomised import _block_name, blocks, few_depths, randomised
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import WeightsError
from phosphene.recipe import Recipe
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from phosphene.sources import load
from tests import tiny


def tensors(classifier):
    return {name: value.clone() for name, value in classifier.module.state_dict().items()}


def logits(classifier, pictures):
    with Engine(classifier, device="cpu") as engine:
        return engine.logits(pictures)


def pictures(count=16, shape=(3, 16, 16)):
    return load_samples("synthetic:mixed", shape).pixels[:count].float() / 255


# --- blocks


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("features.17.conv.0.0", "features.17"),
        ("features.0.0", "features.0"),
        ("layer4.1.conv1", "layer4.1"),
        ("layer4.1.downsample.0", "layer4.1"),
        ("conv1", "conv1"),
        ("blocks.3.attn.qkv", "blocks.3"),
        ("features.denseblock4.denselayer16.conv1", "features.denseblock4"),
        ("encoder.layers.encoder_layer_11.mlp.0", "encoder.layers.encoder_layer_11"),
        ("classifier.6", "classifier.6"),
        ("patch_embed.proj", "patch_embed.proj"),
        ("head", "head"),
        ("7", "7"),
        ("", "(root)"),
    ],
)
def test_modules_belong_together_by_name(name, block):
    assert _block_name(name) == block


def test_the_last_that_is_executed_comes_first_however_it_is_written_down():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 5)
            self.layer2 = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 1))
            self.bn1 = nn.BatchNorm2d(4)
            self.conv1 = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.head(self.layer2(self.bn1(self.conv1(x))).mean((2, 3)))

    assert blocks(Classifier(Backwards(), size=8)) == [
        ("head", ["head"]),
        ("layer2.1", ["layer2.1"]),
        ("layer2.0", ["layer2.0.0", "layer2.0.1"]),
        ("conv1", ["conv1", "bn1"]),
    ]


def test_a_normalisation_of_its_own_goes_with_the_block_before_it():
    """As the last LayerNorm of a transformer does: alone it would make "head and last block" the head."""
    found = blocks(load("demo:shapes-plain"))
    assert found[0] == ("head", ["head"])
    assert found[1] == ("features.10", ["features.10.0", "features.10.1"])
    assert [name for name, _ in blocks(tiny.classifier())] == ["7", "3", "0"]
    assert blocks(tiny.classifier())[-1] == ("0", ["0", "1"])


class Odd(nn.Module):
    """Attention, a token of the root's own, a part that is never called, and one that is called twice."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.aux = nn.Linear(8, 5)
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.again = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.again(self.embed(x).flatten(2).mT)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.head(self.again(self.mix(x, x, x, need_weights=False)[0])[:, 0])


def test_odd_networks_are_ordered_too():
    torch.manual_seed(0)
    classifier = Classifier(Odd(), size=16)
    found = dict(blocks(classifier))
    assert list(found) == ["head", "again", "mix.out_proj", "mix", "embed", "(root)", "aux"]
    assert sorted(itertools.chain(*found.values())) == ["", "again", "aux", "embed", "head", "mix", "mix.out_proj"]
    made = randomised(classifier, 7)
    for name, value in made.module.named_parameters():
        if value.detach().std(correction=0) > 0:
            assert not torch.equal(value, dict(classifier.module.named_parameters())[name]), name


def test_a_network_without_parameters_has_no_blocks():
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    classifier = Classifier(Bare(), size=8)
    assert blocks(classifier) == []
    assert few_depths(0) == []
    with pytest.raises(ValueError, match="0 blocks"):
        randomised(classifier, 1)


@pytest.mark.parametrize(
    ("count", "depths"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (5, [1, 2, 3, 5]), (20, [1, 2, 5, 10, 20])]
)
def test_few_depths_are_the_head_the_last_block_a_quarter_a_half_and_all(count, depths):
    assert few_depths(count) == depths


# --- what is drawn anew


@pytest.mark.parametrize("spec", ["demo:shapes", "demo:shapes-plain", "tiny"])
def test_every_depth_changes_its_blocks_and_nothing_else(spec):
    classifier = tiny.classifier() if spec == "tiny" else load(spec)
    classifier.module.train()
    before, sha256 = tensors(classifier), classifier.sha256
    found = blocks(classifier)
    last = {}
    for depth in range(1, len(found) + 1):
        made = randomised(classifier, depth)
        new = {f"{member}." for _, members in found[:depth] for member in members}
        for key, value in made.module.named_parameters():
            changed = any(key.startswith(prefix) for prefix in new)
            if changed and before[key].std(correction=0) > 0:
                assert (value != before[key]).float().mean() > 0.99, key
            elif not changed:
                assert torch.equal(value, before[key]), key
            if key in last:
                assert torch.equal(value, last[key]), f"{key} was new already, and is new again"
        last = {key: v for key, v in made.module.named_parameters() if any(key.startswith(p) for p in new)}
        assert made.sha256 != sha256
        assert made.labels is classifier.labels
        assert made.num_classes == classifier.num_classes
        assert all(part.training for part in made.module.modules())
    assert depth == len(found)
    assert set(last) == {key for key, _ in classifier.module.named_parameters()}
    # and the classifier itself is as it was
    assert all(torch.equal(value, before[key]) for key, value in tensors(classifier).items())
    assert all(part.training and not part._forward_hooks for part in classifier.module.modules())
    assert all(parameter.requires_grad for parameter in classifier.module.parameters())
    assert classifier.name in ("shapes", "shapes-plain", "tiny")


@pytest.mark.parametrize("depth", [0, 4, -1])
def test_a_depth_out_of_range_is_refused(depth):
    with pytest.raises(ValueError, match="3 blocks"):
        randomised(tiny.classifier(), depth)


def test_seeds_differ_and_repeat():
    classifier = tiny.classifier()
    first, again, other = (randomised(classifier, 3, seed=seed).sha256 for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_new_weights_have_the_mean_and_deviation_of_the_trained_ones():
    classifier = tiny.classifier()
    with torch.no_grad():
        classifier.module[3] = nn.Conv2d(6, 200, 5)
        classifier.module[3].weight.normal_(0.7, 0.05)
        classifier.module[7] = nn.Linear(200, 5)
    made = randomised(Classifier(classifier.module, size=16), 3)
    weight = made.module[3].weight.detach()
    assert float(weight.mean()) == pytest.approx(0.7, abs=0.002)
    assert float(weight.std()) == pytest.approx(0.05, rel=0.03)
    pair = torch.stack([weight.flatten(), classifier.module[3].weight.detach().flatten()])
    assert abs(torch.corrcoef(pair)[0, 1]) < 0.03  # new, not disturbed


def test_half_precision_stays_half():
    classifier = tiny.classifier()
    classifier.module.half()
    made = randomised(classifier, 3, samples=pictures())
    assert {value.dtype for value in made.module.parameters()} == {torch.float16}
    for name in ("running_mean", "running_var"):
        new, old = (getattr(one.module[1], name) for one in (made, classifier))
        assert new.dtype == torch.float16
        assert not torch.equal(new, old)
    assert logits(made, pictures()).isfinite().all()


class Script(nn.Module):
    """A script within, as a network comes out of a TorchScript file; its modules cannot be watched."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings(action="ignore"):  # torch deprecates it, and people have such files
            self.script = torch.jit.script(tiny.network())

    def forward(self, x):
        return self.script(x)


def test_a_script_is_randomised_in_the_order_in_which_it_is_written():
    classifier = Classifier(Script(), size=16)
    assert [name for name, _ in blocks(classifier)] == ["script.script.7", "script.script.3", "script.script.0"]
    trained, new = logits(classifier, pictures()), logits(randomised(classifier, 3), pictures())
    assert new.isfinite().all()
    assert (new - trained).abs().mean() > 0.1
    torch.testing.assert_close(logits(classifier, pictures()), trained)


def test_a_network_that_cannot_be_copied_is_refused_in_one_line():
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is one of me\nand no other")

    classifier = Classifier(nn.Sequential(nn.Flatten(), Single(192, 3)), size=8)
    with pytest.raises(
        WeightsError, match=r"cannot be copied, .* \(RuntimeError: there is one of me\): load it from a card"
    ):
        randomised(classifier, 1)
    pool = make_pool((pictures(8, (3, 8, 8)) * 255).byte(), "few")
    maps = [
        dataclasses.replace(tiny.concept_map(index), nu=torch.randn(3, 8, 8), label=f"class {index}")
        for index in (0, 1)
    ]
    work = CheckContext(classifier, pool, Recipe(), maps, device="cpu", mapper=lambda *_: [])
    found = examine("random-weights", work)
    assert found.passed is None
    assert "cannot be copied" in found.explanation


# --- running statistics


def test_statistics_of_new_normalisations_are_measured_on_the_pictures():
    classifier, shown = tiny.classifier(), pictures(8)
    made = randomised(classifier, 3, samples=shown)
    with torch.no_grad():
        fed = made.module[0]((shown - 0.5) / 0.25)
    torch.testing.assert_close(made.module[1].running_mean, fed.mean((0, 2, 3)))
    torch.testing.assert_close(made.module[1].running_var, fed.var((0, 2, 3)))
    assert made.module[1].momentum == classifier.module[1].momentum
    unmeasured = randomised(classifier, 3)
    assert torch.equal(unmeasured.module[1].running_mean, classifier.module[1].running_mean)
    assert torch.equal(unmeasured.module[0].weight, made.module[0].weight)


def test_statistics_of_trained_normalisations_stay():
    classifier = load("demo:shapes")
    shown = pictures(shape=classifier.input.shape)
    before = tensors(classifier)
    made = randomised(classifier, 2, samples=shown)
    for name, value in made.module.named_buffers():
        if "running" in name:
            assert torch.equal(value, before[name]) != name.startswith("blocks.1."), name
    head = randomised(classifier, 1, samples=shown)
    assert all(torch.equal(value, before[name]) for name, value in head.module.named_buffers())


@pytest.mark.parametrize("spec", ["demo:shapes", "demo:shapes-plain"])
def test_answers_stay_finite_and_different(spec):
    classifier = load(spec)
    shown = pictures(shape=classifier.input.shape)
    trained = logits(classifier, shown).std(0).mean()
    for depth in range(1, len(blocks(classifier)) + 1):
        answers = logits(randomised(classifier, depth, samples=shown), shown)
        assert answers.isfinite().all()
        assert answers.std(0).mean() > 0.2 * trained
        assert answers.std(1).mean() > 0.1
        assert answers.abs().max() < 50


def test_without_new_statistics_answers_would_leave_that_range():
    classifier = load("demo:shapes")
    shown = pictures(shape=classifier.input.shape)
    stale, fresh = (
        logits(randomised(classifier, len(blocks(classifier)), samples=given), shown) for given in (None, shown)
    )
    assert stale.std(0).mean() > 3 * fresh.std(0).mean() or stale.std(0).mean() < fresh.std(0).mean() / 3


def test_a_copy_of_a_copy_has_a_hash_of_its_own():
    classifier = tiny.classifier()
    assert copy.copy(classifier).sha256 == classifier.sha256
    assert randomised(randomised(classifier, 3), 3, seed=5).sha256 != randomised(classifier, 3).sha256
