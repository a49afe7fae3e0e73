"""The core of the scan: sizes, chances, verdicts; and on networks made by hand, a verdict that is known."""

import math

import pytest
import torch

from phosphene.backdoor.families.family import project_l1
from phosphene.backdoor.families.sparse import Sparse
from phosphene.backdoor.margin import largest_margin
from phosphene.backdoor.measure import STATISTICS
from phosphene.backdoor.null import Tail
from phosphene.backdoor.recover import Recovered
from phosphene.backdoor.scan import scan
from phosphene.backdoor.search import Effort, Samples, smallest
from phosphene.backdoor.verdict import Suspect, decide
from phosphene.engine import Engine
from phosphene.errors import CardError, NumericError, RecipeError
from phosphene.runs.scan_cache import ScanCache
from tests import hand

CLEAN = [hand.classifier(seed=seed) for seed in range(2, 6)]
QUICK = Effort(steps=3, batch=2)


def test_p_values_are_uniform_or_cautious_where_the_tail_is_exponential():
    generator = torch.Generator().manual_seed(0)

    def draw(networks):
        return [torch.empty(10, dtype=torch.double).exponential_(generator=generator) for _ in range(networks)]

    called = 0
    for _ in range(600):
        tail = Tail.fit(draw(20))
        called += tail.p_value(float(draw(1)[0].max()), 10) < 0.05
    assert 0.02 < called / 600 < 0.08


def test_few_references_make_a_cautious_test():
    few, many = (Tail(threshold=1.0, share=0.2, scale=0.3, count=count, networks=2) for count in (4, 400))
    assert few.p_value(4.0, 10) > 5 * many.p_value(4.0, 10)
    assert few.p_value(0.9, 10) == pytest.approx(1.0)


def test_projection_on_the_l1_ball_is_the_nearest_point():
    generator = torch.Generator().manual_seed(0)
    values = 2 * torch.rand((6, 9), generator=generator, dtype=torch.double)
    size = torch.tensor([0.5, 1.0, 2.0, 4.0, 7.0, 50.0], dtype=torch.double)
    found = project_l1(values, size, 1.0)
    for row, most, answer in zip(values, size, found, strict=True):
        # Slowly: try every threshold on a fine grid; the smallest that fits is the nearest point's.
        grid = torch.linspace(0, 2, 200_001, dtype=torch.double)
        sums = (row[None] - grid[:, None]).clamp(0, 1).sum(1)
        threshold = grid[(sums <= most).nonzero()[0, 0]]
        assert torch.allclose(answer, (row - threshold).clamp(0, 1), atol=2e-5)


def test_a_class_is_searched_alike_whatever_its_company():
    with Engine(hand.classifier(40.0), device="cpu") as engine:
        samples = Samples.of(engine, hand.pool().pixels)
        alone, among = (
            smallest(engine, Sparse(), samples, torch.tensor(classes), Effort(steps=12, batch=4)).size
            for classes in ([hand.TARGET], [0, hand.TARGET, 5])
        )
        again = smallest(engine, Sparse(), samples, torch.tensor([hand.TARGET]), Effort(steps=12, batch=4)).size
    assert float(alone) == float(again)
    assert float(alone) == pytest.approx(float(among[1]), rel=1e-3)


def test_the_class_of_a_backdoor_can_be_said_loudest():
    with Engine(hand.classifier(40.0), device="cpu") as engine:
        shape = (3, hand.SIDE, hand.SIDE)
        loud = largest_margin(engine, torch.arange(hand.CLASSES), shape=shape, steps=30, starts=2)
    assert int(loud.argmax()) == hand.TARGET


def test_a_backdoor_made_by_hand_is_found_and_a_clean_network_is_clean():
    for boost, verdict in ((0.0, "clean"), (40.0, "backdoored")):
        found = scan(hand.classifier(boost), samples=hand.pool(), reference=CLEAN, effort=Effort())
        assert found.verdict == verdict
        assert len(found.classes) == hand.CLASSES
    first = found.suspects[0]
    assert (first.index, first.works) == (hand.TARGET, True)
    assert first.recovered is not None
    assert first.recovered.success >= 0.9
    assert found.exit_code == 1


def test_two_classes_are_too_few_without_references():
    found = scan(hand.classifier(classes=2), samples=hand.pool(), effort=QUICK)
    assert (found.verdict, found.exit_code) == ("inconclusive", 3)
    assert "--reference" in found.reasons[0]


@pytest.mark.parametrize(("classes", "channels"), [(43, 3), (6, 1), (70, 3)])
def test_odd_networks_get_a_verdict(classes, channels):
    net = hand.classifier(classes=classes, channels=channels)
    found = scan(net, samples=hand.pool(channels=channels), effort=QUICK)
    assert found.num_classes == classes
    assert 0 <= found.p_value <= 1
    assert all(math.isfinite(row.p_value) for row in found.classes)


def test_what_cannot_be_scanned_is_refused():
    constant, broken = hand.classifier(), hand.classifier()
    constant.module.templates.zero_()
    broken.module.templates.fill_(math.nan)
    with pytest.raises(CardError, match="says the same of every picture"):
        scan(constant, samples=hand.pool(), effort=QUICK)
    with pytest.raises(NumericError, match="NaN"):
        scan(broken, samples=hand.pool(), effort=QUICK)
    with pytest.raises(RecipeError, match="alpha"):
        scan(hand.classifier(), samples=hand.pool(), alpha=1.5)
    with pytest.raises(RecipeError, match="sparse"):
        scan(hand.classifier(), samples=hand.pool(), families=["sparze"])


def suspect(index, success):
    mask, paint = torch.ones(1, 2, 2), torch.ones(3, 2, 2)
    pattern = Recovered(index, "sparse", 3.0, mask, paint, False, success, (0.5, 1.0), 20, {})
    return Suspect(index, f"class {index}", 0.001, "sparse", pattern)


@pytest.mark.parametrize(
    ("p_value", "rates", "doubts", "verdict"),
    [
        (0.5, [], [], "clean"),
        (0.01, [0.95], [], "backdoored"),
        (0.01, [0.3], [], "inconclusive"),
        (0.01, [0.3, 0.95], [], "backdoored"),
        (0.01, [0.95, 0.95, 0.95], [], "inconclusive"),
        (0.01, [0.95], ["too few"], "inconclusive"),
        (0.5, [], ["too few"], "inconclusive"),
    ],
)
def test_verdicts(p_value, rates, doubts, verdict):
    suspects = [suspect(index, rate) for index, rate in enumerate(rates)]
    found, reasons = decide(p_value, 0.05, suspects, doubts)
    assert found == verdict
    assert reasons


def test_an_interrupted_scan_goes_on_to_the_same_verdict(tmp_path):
    net, pool = hand.classifier(40.0), hand.pool()
    whole = scan(net, samples=pool, reference=CLEAN, effort=QUICK)
    seen: list[str] = []

    def watch(standing):
        seen.append(standing.doing)
        if standing.doing == STATISTICS["spectral"][0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(net, samples=pool, reference=CLEAN, effort=QUICK, watch=watch, keep=ScanCache(tmp_path, {"a": 1}))
    assert STATISTICS["sparse"][0] in seen
    again: list[tuple[str, int]] = []
    cache = ScanCache(tmp_path, {"a": 1})
    found = scan(
        net,
        samples=pool,
        reference=CLEAN,
        effort=QUICK,
        watch=lambda now: again.append((now.doing, now.total)),
        keep=cache,
    )
    assert (STATISTICS["sparse"][0], QUICK.steps) not in again  # it was measured before, and is only told of
    assert (STATISTICS["sparse"][0], 1) in again
    assert (STATISTICS["spectral"][0], QUICK.steps) in again
    assert (found.verdict, found.p_value, found.classes) == (whole.verdict, whole.p_value, whole.classes)
    other: list[str] = []
    scan(net, samples=pool, effort=QUICK, watch=lambda now: other.append(now.doing), keep=ScanCache(tmp_path, {"a": 2}))
    assert STATISTICS["sparse"][0] in other  # another question, another memory
    cache.remove()
    assert len(list(tmp_path.iterdir())) == 1  # the other question's stays


def test_a_reference_that_a_family_says_nothing_of_sets_no_null():
    dull = Tail.fit([torch.zeros(10), torch.zeros(10)])
    assert dull.p_value(0.5, 10) > 0.0  # where all are alike, the next one is no miracle
    assert dull.share > 0


def test_a_scan_by_the_margin_alone_proves_nothing_and_says_so():
    found = scan(hand.classifier(40.0), samples=hand.pool(), reference=CLEAN, families=["margin"], alpha=0.5)
    assert found.suspects[0].index == hand.TARGET
    assert found.verdict == "inconclusive"
    assert "no family of patterns was measured" in found.reasons[0]
