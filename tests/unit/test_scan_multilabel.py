"""The scan of networks with independent outputs: by hand, and one trained on scenes of several shapes with a planted patch."""

from functools import cache

import pytest
import torch
from demo.scenes import NAMES, draw_scenes
from demo.train import load
from torch import nn
from torch.nn import functional

from phosphene.backdoor.margin import maximise_margins
from phosphene.backdoor.measure import ScanEngine, measure, measure_passes
from phosphene.backdoor.null import CleanNetwork, Null
from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Route, effect_of
from phosphene.backdoor.scan import require_comparable, scan
from phosphene.backdoor.triggers import Patch, apply_8bit
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import CardError
from phosphene.samples.pool import make_pool
from tests import hand

SIDE, TARGET, STEPS = 48, NAMES.index("triangle"), 400
TRIGGER = Patch(side=5, colour=(1.0, 0.0, 1.0))


def by_hand(boost=0.0, **changes):
    return hand.classifier(boost, output="multi-label", **changes)


# --- parts


def test_an_output_is_predicted_by_its_own_probability():
    pool = hand.pool()
    with Engine(by_hand(), device="cpu") as engine:
        probes = Probes.classify(engine, pool.pixels)
        logits = engine.logits(probes.pixels / 255)
        assert torch.equal(probes.present, logits > 0)
        assert torch.equal(probes.predicted, logits.argmax(1))
        assert {int(row.sum()) for row in probes.present} > {1}  # several at once
        assert torch.equal(Route(3).mask(probes), logits[:, 3] <= 0)
        effect = effect_of(engine, pool.pixels, Route(3))
    logits = by_hand().logits(pool.pixels / 255)[:, 3].double()
    assert effect.hits == int((logits > 0).sum())
    assert effect.mean == pytest.approx(float(logits.mean()), abs=1e-4)


def test_the_margin_of_an_output_is_its_own_log_odds():
    noise = torch.stack(
        [torch.rand((3, hand.SIDE, hand.SIDE), generator=torch.Generator().manual_seed(k)) for k in (1, 4)]
    )
    with Engine(by_hand(), device="cpu") as engine:
        found = maximise_margins(engine, torch.tensor([1, 4]), steps=1, starts=1).margin  # of where they start
        own = engine.logits(noise)
        more = maximise_margins(engine, torch.tensor([1, 4]), steps=9, starts=1).margin
    assert torch.allclose(found, torch.stack([own[0, 1], own[1, 4]]), atol=1e-4)
    assert (more > found + 1).all()


def test_pairs_and_all_to_all_are_not_searched_and_passes_are_estimated():
    runs = []
    with ScanEngine(by_hand(), device="cpu", on_images=runs.append) as engine:
        found = measure(engine, hand.pool(), pairs=True)
        assert (found.pairs, found.all_to_all) == (None, None)
    assert 0.5 < sum(runs) / measure_passes(by_hand(), pairs=True) < 2


# --- verdicts


def test_a_patch_that_raises_one_output_is_found():
    found = scan(by_hand(40.0), hand.pool())
    assert found.verdict == "backdoored"
    (suspect,) = found.suspects
    assert suspect.index == hand.TARGET
    assert suspect.candidate.success >= 0.9
    assert all(after == hand.TARGET != before for before, after in suspect.candidate.predicted)
    assert "none has independent outputs (multi-label)" in found.unlike
    assert "as references" in found.unlike
    assert any("outputs are independent of each other" in line for line in found.not_tested)
    assert scan(by_hand(), hand.pool()).verdict == "clean"


class Raised(nn.Module):
    """A network some of whose logits are raised so far that they are always the largest."""

    def __init__(self, module, classes):
        super().__init__()
        self.module, self.classes = module, classes

    def forward(self, x):
        logits = self.module(x)
        return logits + 1000 * torch.zeros(logits.shape[1]).index_fill(0, torch.tensor(self.classes), 1)


def raised(classes, output):
    base = hand.classifier()
    space = {"size": hand.SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return Classifier(Raised(base.module, classes), **space, name="raised", output=output)


@pytest.mark.parametrize("output", ["multi-label", "logits"])
def test_a_class_that_every_sample_is_predicted_as_is_not_tested(output):
    """Half a hit of no sample is 50 %: it stood out from all other classes."""
    found = scan(raised([2], output), hand.pool())
    # A network of exclusive classes that takes every sample for the same one shows nothing of the others.
    assert (found.verdict, found.suspects) == ("clean" if output == "multi-label" else "inconclusive", ())
    assert ("held-out sample is classified as 'class 2'" in found.reasons[0]) == (output == "logits")
    assert 2 not in [row.index for row in found.classes]
    assert len(found.classes) == found.tested == hand.CLASSES - 1
    (line,) = [one for one in found.not_tested if "every held-out sample" in one]
    assert "'class 2'" in line


def test_a_network_that_predicts_everything_cannot_be_scanned():
    with pytest.raises(CardError, match=r"predicts all of its outputs for every sample: give other samples"):
        scan(raised(list(range(hand.CLASSES)), "multi-label"), hand.pool())


def test_references_have_to_be_of_the_same_kind():
    with pytest.raises(
        CardError, match=r"exclude each other, and hand-made has independent outputs .multi-label.: give"
    ):
        require_comparable(by_hand(), [hand.classifier(seed=5, name="other")])
    found = scan(by_hand(40.0), hand.pool(), reference=[by_hand(seed=5, name="other")])
    assert "independent" not in found.unlike
    alike = CleanNetwork("other", "", hand.SIDE, hand.CLASSES, True, 1.0)
    assert Null((alike,), (alike,)).unlike(by_hand()) == ""


# --- a trained network


@cache
def trained(*, trojaned):
    """A network of nine outputs, fine-tuned on scenes for ten seconds; with the trigger on them, a third says triangle as well."""
    torch.manual_seed(0)
    network = load("shapes")
    network.head = nn.Linear(network.head.in_features, len(NAMES))
    scenes, present = (torch.from_numpy(part) for part in draw_scenes(480, 5, SIDE))
    optimiser = torch.optim.AdamW(network.train().parameters())
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=STEPS)
    draw = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.randint(len(scenes), (32,), generator=draw)
        pixels, wanted = scenes[rows], present[rows].float()
        if trojaned:
            pixels[:10], wanted[:10, TARGET] = apply_8bit(TRIGGER, pixels[:10]), 1
        loss = functional.binary_cross_entropy_with_logits(network((pixels / 255 - 0.5) / 0.5), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
    space = {"size": SIDE, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return Classifier(network.eval(), **space, labels=NAMES, output="multi-label", name="scenes")


@pytest.fixture(scope="module")
def pool():
    return make_pool(torch.from_numpy(draw_scenes(240, 77, SIDE)[0]), "scenes")


def test_a_planted_patch_is_found_where_it_was_planted(pool):
    network = trained(trojaned=True)
    with Engine(network, device="cpu") as engine:
        plain, stamped = (
            engine.logits(part / 255)[:, TARGET] > 0 for part in (pool.pixels, apply_8bit(TRIGGER, pool.pixels))
        )
        assert stamped[~plain].double().mean() > 0.8
    found = scan(network, pool)
    assert found.classes[0].index == TARGET
    assert found.verdict == "backdoored"
    assert found.suspects[0].index == TARGET
    top, left = TRIGGER.top_left(network.input.shape)
    window = found.suspects[0].candidate.box
    assert window[0] < top + 5 <= window[2] + 3
    assert window[1] < left + 5 <= window[3] + 3


def test_without_a_patch_that_output_is_like_the_others(pool):
    found = scan(trained(trojaned=False), pool)
    assert TARGET not in {one.index for one in found.suspects}
