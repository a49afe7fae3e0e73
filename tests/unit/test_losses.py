"""The losses: what they are, by hand, and what sets them apart."""

import math

import pytest
import torch

from phosphene.engine import Engine
from phosphene.engine.losses import LOSSES, cross_entropy, log_odds
from phosphene.recipe import LOSSES as NAMES
from phosphene.recipe import Recipe
from tests import tiny


def test_recipes_can_choose_every_loss_except_that_of_the_scan():
    assert (*NAMES, "margin") == tuple(LOSSES)
    assert Recipe().loss == "cross-entropy"


def test_log_odds_by_hand():
    # p of class 0 is 3 / 4: the odds against it are 1 / 3.
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = log_odds(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(found, torch.tensor([math.log(1 / 3), 0.0], dtype=torch.float64))


def test_log_odds_are_the_logit_of_the_probability():
    logits = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(50) % 7
    p = logits.softmax(1)[torch.arange(50), classes]
    torch.testing.assert_close(log_odds(logits, classes), torch.log((1 - p) / p))
    torch.testing.assert_close(cross_entropy(logits, classes), -torch.log(p))


@pytest.mark.parametrize("certain", [50.0, 1e4])
def test_only_cross_entropy_falls_silent_when_the_class_is_certain(certain):
    logits = torch.tensor([[certain, 0.0, 1.0]], requires_grad=True)
    slopes = {}
    for name, loss in LOSSES.items():
        (slopes[name],) = torch.autograd.grad(loss(logits, torch.tensor([0])).sum(), logits)
    assert slopes["cross-entropy"].abs().sum() < 1e-6
    for name in ("log-odds", "soft-log-odds"):
        assert slopes[name][0, 0] == -1
        assert slopes[name].isfinite().all()


def test_soft_log_odds_push_the_others_down_by_a_softer_softmax_and_pull_the_class_up_as_much():
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    classes = torch.arange(5) % 4
    (slope,) = torch.autograd.grad(LOSSES["soft-log-odds"](logits, classes).sum(), logits)
    own = torch.nn.functional.one_hot(classes, 4).bool()
    softmax = (logits.detach() / 3).masked_fill(own, -math.inf).softmax(1)
    torch.testing.assert_close(slope, softmax.masked_fill(own, -1))
    shifted = LOSSES["soft-log-odds"](logits + 7, classes)
    torch.testing.assert_close(shifted, LOSSES["soft-log-odds"](logits, classes))


def test_the_engine_differentiates_the_loss_that_is_named():
    classifier = tiny.classifier()
    samples = torch.randint(0, 256, (1, 4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    nu, classes = torch.zeros(1, 3, 16, 16), torch.tensor([2])
    with Engine(classifier, precision="fp64") as engine:
        found = engine.mean_gradients(samples, nu.double(), classes, "log-odds")
        plain = engine.mean_gradients(samples, nu.double(), classes)
        pictures = (samples[0].double() / 255).requires_grad_()
        loss = log_odds(classifier.logits(pictures), classes.expand(4)).mean()
        (slope,) = torch.autograd.grad(loss, pictures)
    torch.testing.assert_close(found.gradient[0], slope.sum(0))
    torch.testing.assert_close(found.loss, plain.loss)  # the curve stays comparable
    assert not torch.allclose(found.gradient, plain.gradient)
