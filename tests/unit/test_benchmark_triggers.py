"""The triggers that only the benchmarks have: they change samples as they say."""

import pytest
import torch
from benchmarks.backdoors.additive import Noise, Sinusoid, Smooth, Watermark
from benchmarks.backdoors.attacks import Dynamic, Spots, Warp

from phosphene.backdoor.triggers import apply_8bit
from phosphene.errors import RecipeError

ADDITIVE = {
    "word": Watermark(drawing="word:STAY"),
    "lattice": Watermark(drawing="lattice", colour=(0.5, -1.0, 1.0)),
    "smooth": Smooth(seed=2),
    "sinusoid": Sinusoid(turn=30),
}


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 48, 40)], ids=str)
@pytest.mark.parametrize("name", ADDITIVE)
def test_a_pattern_is_added_to_the_whole_sample(name, shape):
    trigger, before = ADDITIVE[name], torch.rand((3, *shape), generator=torch.Generator().manual_seed(0))
    mask, pattern, given = trigger.mask(shape), trigger.pattern(shape), before.clone()
    assert mask.shape == (1, *shape[1:])
    assert pattern.shape == shape
    assert 0 <= mask.min() < mask.max() <= 1
    assert pattern.min() >= -1
    after = trigger.apply(before)
    assert torch.allclose(after, (before + pattern).clamp(0, 1), atol=1e-6)
    assert torch.equal(before, given), "the given samples have changed"
    assert (after - before).abs().amax() > 0.03


def test_a_sinusoid_is_one_wave():
    pattern = Sinusoid(amplitude=0.08, cycles=6).pattern((3, 32, 32))
    spectrum = torch.fft.rfft2(pattern[0]).abs() ** 2
    assert spectrum[0, 6] / spectrum.sum() > 0.99
    assert pattern.abs().max() == pytest.approx(0.08, rel=0.02)


def test_a_smooth_trigger_has_no_high_frequencies():
    pattern = Smooth(amplitude=0.1, cycles=2).pattern((3, 32, 32))
    spectrum = torch.fft.fft2(pattern).abs() ** 2
    frequency = torch.hypot(torch.fft.fftfreq(32, 1 / 32)[:, None], torch.fft.fftfreq(32, 1 / 32))
    assert spectrum[:, frequency <= 2].sum() / spectrum.sum() > 0.999
    assert pattern.abs().max() == pytest.approx(0.1)


def test_what_is_added_is_rounded_to_grey_levels():
    before = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    added = apply_8bit(Sinusoid(amplitude=0.1), before).int() - before.int()
    assert added.abs().max() <= 26


@pytest.mark.parametrize(("drawing", "says"), [("word:", "word is made of"), ("stripes", "lattice")])
def test_unknown_drawings_are_refused(drawing, says):
    with pytest.raises(RecipeError, match=says):
        Watermark(drawing=drawing).pattern((3, 8, 8))


@pytest.mark.parametrize("trigger", [Spots(), Noise(), Dynamic(), Warp()], ids=lambda one: one.kind)
def test_a_trigger_changes_samples_within_the_range_and_leaves_the_given_ones(trigger):
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    out = trigger.apply(x)
    assert out.shape == x.shape
    assert 0 <= out.min() <= out.max() <= 1
    assert (out != x).flatten(1).any(1).all()
    assert torch.equal(x, before)


def test_a_dynamic_trigger_differs_from_sample_to_sample():
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    places = {tuple(one.sum(0).nonzero()[0].tolist()) for one in (Dynamic().apply(x) != x).float()}
    assert len(places) > 4
