"""A cheap look at many classes: marks drawn at random, and what rises under them."""

import pytest
import torch

from phosphene.backdoor.scan import scan
from phosphene.backdoor.screen import FEW, KEPT, MARKS, SIDES, USUAL, marks, rises, screen
from phosphene.backdoor.search import Effort, Samples
from phosphene.engine import Engine
from tests import hand

CLASSES = FEW + 6


class Edges(hand.Templates):
    """Says class ``TARGET`` the louder, the more hard edges a picture has: any mark helps, wherever it is."""

    def forward(self, x):
        edges = x.diff(dim=2).abs().mean((1, 2, 3)) + x.diff(dim=3).abs().mean((1, 2, 3))
        logits = super().forward(x)
        return logits + 20 * edges[:, None] * torch.nn.functional.one_hot(torch.tensor(hand.TARGET), CLASSES)


def network(kind):
    """A classifier of many classes, whose module is of a kind."""
    made = hand.classifier(classes=CLASSES)
    made.module = kind(classes=CLASSES).eval()
    return made


def look(classifier, seed=0):
    with Engine(classifier, device="cpu") as engine:
        samples = Samples.of(engine, hand.pool().pixels)
        return rises(engine, samples, seed=seed), screen(engine, samples, seed=seed)


def test_the_class_that_answers_to_any_mark_comes_first_and_others_show_what_is_usual():
    rise, classes = look(network(Edges))
    assert int(rise.argmax()) == int(classes[0]) == hand.TARGET
    assert len(classes) == len(set(classes.tolist())) == KEPT + USUAL
    assert classes[:KEPT].tolist() == rise.argsort(descending=True)[:KEPT].tolist()
    assert float(rise[hand.TARGET]) > 3 * float(rise.sort().values[-2])
    plain, _ = look(network(hand.Templates))
    assert int(plain.argmax()) != hand.TARGET


def test_a_look_depends_on_its_seed_alone():
    first, again, other = (look(network(Edges), seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 28), (3, 6, 6)])
def test_marks_have_the_sizes_and_colours_that_are_promised(shape):
    found = list(marks(shape, torch.Generator().manual_seed(0)))
    assert len(found) == MARKS
    for mask, paint in found:
        assert (mask.dtype, tuple(mask.shape), tuple(paint.shape)) == (torch.bool, (1, *shape[1:]), shape)
        assert 0 <= float(paint.min()) <= float(paint.max()) <= 1
        rows, columns = mask[0].any(1).nonzero(), mask[0].any(0).nonzero()
        side = max(int(spots.max() - spots.min()) + 1 for spots in (rows, columns))
        assert 1 <= side <= max(2, round(SIDES[1] * min(shape[1:])))
    everywhere = torch.stack([mask for mask, _ in found]).any(0)
    assert float(everywhere.float().mean()) > 0.95


def test_a_scan_of_many_classes_says_how_many_it_searched():
    suspected = look(network(hand.Templates))[1][:KEPT].tolist()
    found = scan(network(hand.Templates), samples=hand.pool(), effort=Effort(steps=3, batch=2))
    assert len(found.classes) == KEPT + USUAL
    assert any(f"{KEPT + USUAL} of {CLASSES}" in line for line in found.not_tested)
    assert all(row.p_value == 1 for row in found.classes if row.index not in suspected)
    few = scan(hand.classifier(), samples=hand.pool(), effort=Effort(steps=3, batch=2))
    assert not any("were searched" in line for line in few.not_tested)
