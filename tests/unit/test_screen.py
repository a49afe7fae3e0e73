"""A cheap look at many classes: marks drawn at random, and what rises under them."""

import dataclasses

import pytest
import torch

from phosphene.backdoor.measure import FEW, PASTED, STATISTICS, choose
from phosphene.backdoor.null import Null, Tail, built_in
from phosphene.backdoor.scan import scan
from phosphene.backdoor.screen import BATCH, KEPT, MARKS, SIDES, USUAL, marks, rises, screen
from phosphene.backdoor.search import Effort, Samples
from phosphene.backdoor.survey import Setting, stage_passes, survey
from phosphene.engine import Engine
from phosphene.errors import CardError
from phosphene.runs.scan_cache import ScanCache
from tests import hand

CLASSES = FEW + 6


class Edges(hand.Templates):
    """Says class ``TARGET`` the louder, the more hard edges a picture has: any mark helps, wherever it is."""

    def forward(self, x):
        edges = x.diff(dim=2).abs().mean((1, 2, 3)) + x.diff(dim=3).abs().mean((1, 2, 3))
        logits = super().forward(x)
        return logits + 20 * edges[:, None] * torch.nn.functional.one_hot(torch.tensor(hand.TARGET), logits.shape[1])


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


def test_larger_pictures_are_searched_in_more_and_smaller_steps():
    small, usual, large = (Effort.usual((3, side, side)) for side in (32, 96, 224))
    assert small == Effort(steps=60)
    assert usual == large == Effort(steps=100, shrink=(0.1, 0.02))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 28), (3, 6, 6), (3, 1, 5)])
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


def test_without_references_of_as_many_classes_nothing_is_proved_and_with_them_it_is(tmp_path):
    """The trojaned class answers to any mark a little, and to a patch in the corner at once."""
    trojaned, clean = network(Edges), [network(hand.Templates) for _ in range(3)]
    trojaned.module.boost = 60.0
    for seed, one in enumerate(clean, 2):
        one.module.load_state_dict(hand.Templates(classes=CLASSES, seed=seed).state_dict())
    cache = ScanCache(tmp_path, {"asked": 1})
    alone = scan(trojaned, samples=hand.pool(), effort=Effort(), keep=cache)
    assert alone.verdict == "inconclusive"
    assert [one.index for one in alone.suspects] == [hand.TARGET]
    assert alone.suspects[0].works
    assert "--reference" in alone.reasons[-1]
    again = scan(trojaned, samples=hand.pool(), effort=Effort(), keep=cache)  # also what the look chose is kept
    assert (again.p_value, again.classes) == (alone.p_value, alone.classes)
    beside = scan(trojaned, samples=hand.pool(), effort=Effort(), reference=clean)
    assert (beside.verdict, beside.suspects[0].index) == ("backdoored", hand.TARGET)
    assert scan(clean[0], samples=hand.pool(), effort=Effort(), reference=clean[1:]).verdict == "clean"


def test_a_reference_of_few_classes_says_nothing_of_a_network_of_many():
    with pytest.raises(CardError, match="at most 64, or both more"):
        scan(network(Edges), samples=hand.pool(), reference=[hand.classifier()], effort=Effort(steps=3, batch=2))


def test_null_tails_come_from_the_tested_classes_alone():
    draw = torch.Generator().manual_seed(0)
    away = [{"sparse": torch.randn(16, generator=draw, dtype=torch.double)} for _ in range(4)]
    tested = [torch.arange(16) < 8] * 4
    for one in away:
        one["sparse"][:8] += 1.0
    all_of_them, chosen = Null.fit(away), Null.fit(away, tested)
    assert chosen.spreads == all_of_them.spreads
    assert chosen.tails["sparse"].threshold > all_of_them.tails["sparse"].threshold
    assert chosen.tails["sparse"].count == 7  # of 32


def test_few_networks_tell_where_their_tail_begins_and_others_how_fast_it_falls():
    draw = torch.Generator().manual_seed(0)
    few = [torch.rand(8, generator=draw, dtype=torch.double) for _ in range(3)]
    others = Tail(threshold=9.0, share=0.2, scale=0.5, count=95, networks=40)
    alone, pooled = Tail.fit(few), Tail.fit(few, others)
    assert (pooled.threshold, pooled.share, pooled.networks) == (alone.threshold, alone.share, 3)
    assert pooled.count == alone.count + 95 == 100
    assert pooled.scale == pytest.approx((alone.scale * alone.count + 0.5 * 95) / 100)
    far = alone.threshold + 10 * max(alone.scale, pooled.scale)
    alike = dataclasses.replace(pooled, count=alone.count)
    assert pooled.chance(far) < alike.chance(far)  # alone it is hardly known


def test_many_classes_are_compared_with_networks_of_many():
    natural, many = built_in("natural"), built_in("many-natural")
    both = natural.but(many)
    assert both.tails["sparse"] == many.tails["sparse"]
    assert both.tails["dense"] == natural.tails["dense"]
    assert not both.covers(dict.fromkeys(STATISTICS))
    assert (both.spreads["sparse"], both.spreads["dense"]) == (many.spreads["sparse"], natural.spreads["dense"])
    quick = Effort(steps=3, batch=2)
    for network_, wanted in ((network(hand.Templates), many), (hand.classifier(), natural)):
        found = scan(network_, samples=hand.pool(), effort=quick, families=("sparse",))
        assert found.families["sparse"]["null"] == vars(wanted.tails["sparse"])
    blind = scan(network(hand.Templates), samples="synthetic:mixed", effort=quick, families=("sparse",))
    tail = built_in("many-synthetic").tails["sparse"]
    assert blind.families["sparse"]["null"] == vars(tail)
    assert tail.scale > many.tails["sparse"].scale


def test_a_scan_of_many_classes_says_how_many_it_searched():
    suspected = look(network(hand.Templates))[1][:KEPT].tolist()
    found = scan(network(hand.Templates), samples=hand.pool(), effort=Effort(steps=3, batch=2))
    assert len(found.classes) == KEPT + USUAL
    assert found.tested == KEPT
    assert any(f"Of {CLASSES} classes {KEPT} were tested" in line for line in found.not_tested)
    assert all(row.p_value == 1 for row in found.classes if row.index not in suspected)
    few = scan(hand.classifier(), samples=hand.pool(), effort=Effort(steps=3, batch=2))
    assert not any("were tested" in line for line in few.not_tested)


def test_of_many_classes_only_what_the_look_is_for_is_searched_for_and_the_rest_is_named():
    assert choose((), FEW) == tuple(STATISTICS)
    assert choose((), FEW + 1) == PASTED
    assert choose(("dense", "sparse"), FEW + 1) == ("dense", "sparse")
    quick = Effort(steps=3, batch=2)
    usual = scan(network(hand.Templates), samples=hand.pool(), effort=quick)
    assert tuple(usual.families) == PASTED
    assert any("spectral, dense, margin" in line and "--family" in line for line in usual.not_tested)
    asked = scan(network(hand.Templates), samples=hand.pool(), effort=quick, families=("dense", "spectral"))
    assert tuple(asked.families) == ("dense", "spectral")
    assert any("(margin) were not tried" in line for line in asked.not_tested)
    few = scan(hand.classifier(), samples=hand.pool(), effort=quick, families=("sparse",))
    assert not any("were not tried" in line for line in few.not_tested)


def test_the_stages_of_a_survey_add_up_to_it():
    heard = []
    setting = Setting(tuple(STATISTICS), Effort(steps=3, batch=2), watch=heard.append)
    with Engine(network(hand.Templates), device="cpu") as engine:
        found = survey(engine, Samples.of(engine, hand.pool().pixels), setting)
    stages = dict.fromkeys(one.doing for one in heard)
    assert sum(stage_passes(one, CLASSES, setting.effort) for one in stages) == found.passes
    assert stage_passes(f"reference x: {next(iter(stages))}", CLASSES, setting.effort) == MARKS * BATCH
