"""The scan: its parts, and on networks made by hand a verdict that is known."""

import math
import re
import statistics
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from phosphene.backdoor import null
from phosphene.backdoor.all_to_all import own_targets
from phosphene.backdoor.boxes import grid, paste, shifted_boxes
from phosphene.backdoor.candidate import make_candidate
from phosphene.backdoor.margin import maximise_margins, outlyingness
from phosphene.backdoor.measure import Measurements, ScanEngine, figures, measure, measure_passes
from phosphene.backdoor.not_tested import MIN_SAMPLES, fixes
from phosphene.backdoor.null import CleanNetwork, Null
from phosphene.backdoor.pairs import easy_pairs
from phosphene.backdoor.probes import LENGTH, Probes, in_turn, log_odds_of_all, move_to_all_classes, probes_of
from phosphene.backdoor.routes import Effect, Route
from phosphene.backdoor.scan import check_alpha, next_class, require_comparable, scan
from phosphene.backdoor.screen import mean_logit_rises
from phosphene.backdoor.verdict import ClassRow, Suspect, decide
from phosphene.backdoor.window import Window, WindowSearch, measure_windows, window_contents
from phosphene.engine import Engine
from phosphene.engine.losses import log_odds
from phosphene.errors import CardError, NumericError, RecipeError, SamplesError
from phosphene.labels import Labels
from phosphene.samples.pool import make_pool
from tests import hand

TROJAN = hand.classifier(40.0)
LABELS = Labels([f"class {k}" for k in range(8)])


def network(figure, name="clean"):
    return CleanNetwork(name, "drawn", 16, 8, True, figure)


@pytest.fixture(scope="module")
def found():
    return scan(TROJAN, hand.pool())


# --- null model


def test_a_p_value_is_the_rank_among_clean_networks():
    null = Null(tuple(network(figure) for figure in (1.0, 2.0, 3.0, 4.0)))
    assert [null.p_value(figure) for figure in (0.5, 2.5, 9.0)] == [1.0, 0.6, 0.2]


def test_p_values_of_clean_networks_are_at_most_what_they_say():
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(400, 40, generator=draw)  # 39 clean networks, and one more
    null = [Null(tuple(network(float(one)) for one in row[1:])).p_value(float(row[0])) for row in values]
    assert 0.02 < sum(p <= 0.05 for p in null) / len(null) < 0.09


def test_the_limit_is_where_the_p_value_falls_below_alpha():
    null = Null(tuple(network(float(k)) for k in range(40)))
    limit = null.limit(0.05)
    assert null.p_value(limit) >= 0.05 > null.p_value(limit + 1e-9)
    assert Null(()).limit(0.05) == math.inf


def test_the_limit_counts_references_as_the_p_value_does():
    null = Null(tuple(network(float(k)) for k in range(40)), (network(50.0), network(0.0), network(0.0)))
    for alpha in (0.05, 0.2, 0.4):
        limit = null.limit(alpha)
        assert null.p_value(limit) >= alpha > null.p_value(limit + 1e-9)


def test_a_reference_that_deviates_as_far_outweighs_the_other_networks():
    others = tuple(network(0.0) for _ in range(60))
    assert Null(others, (network(0.0),)).p_value(2.0) < 0.05
    assert Null(others, (network(5.0),)).p_value(2.0) == 1.0
    assert Null(others, (network(5.0), network(0.0))).p_value(2.0) == 0.5


def test_what_the_null_model_lacks_is_said():
    small = Null.of(10, natural=True)
    assert small.describe().startswith(f"{len(small)} small clean networks of ")
    null, alike = Null((network(1.0),)), hand.classifier()
    far = replace(network(1.0), side=224)
    assert null.unlike(alike) == ""
    assert "none has about 1200 classes" in null.unlike(hand.classifier(classes=1200))
    assert "none has about 16 pixels" in Null((far,)).unlike(alike)
    alike.module.add_module("attention", torch.nn.MultiheadAttention(2, 1))
    assert "none is a transformer" in null.unlike(alike)
    assert Null((), (network(1.0),)).unlike(alike) == ""


def test_a_demo_network_is_not_compared_with_itself():
    whole = Null.of(8, natural=True)
    assert len(Null.of(8, natural=True, spec="demo:shapes")) == len(whole) - 1


@pytest.fixture
def shipped(monkeypatch):
    """Make the package ship 30 small networks, and so many of 1,000 classes."""

    def ship(many):
        small = [replace(network(float(k)), all_to_all=0.1) for k in range(30)]
        large = [CleanNetwork("large", "imagenet", 224, 1000, True, float(k)) for k in range(many)]
        monkeypatch.setattr(null, "built_in", lambda: (*small, *large))
        return small, large

    return ship


def test_networks_of_many_classes_are_ranked_among_their_like(shipped):
    small, large = shipped(20)
    assert Null.of(64, natural=True).networks == tuple(small)
    many = Null.of(65, natural=True)
    assert many.networks == tuple(large)
    assert many.describe() == "20 clean networks of 224 to 224 pixels (imagenet)"
    assert many.all_to_all_p_value(1.0) == 1 / 31  # of all that were searched


def test_fewer_than_twenty_networks_of_many_classes_are_too_few_to_be_ranked_among(shipped):
    small, large = shipped(19)
    assert Null.of(65, natural=True).networks == (*small, *large)


def test_an_alpha_that_no_class_could_reach_is_refused(shipped):
    shipped(20)
    small, large = hand.classifier(), hand.classifier(classes=100)
    check_alpha(0.04, small, natural=True)
    with pytest.raises(
        RecipeError, match=r"of 20 clean networks to compare with no p-value is below 0\.048: give a larger"
    ):
        check_alpha(0.04, large, natural=True)
    check_alpha(0.04, large, natural=True, references=5)


def test_a_reference_that_alone_speaks_against_a_class_contests_it_and_one_that_deviates_elsewhere_does_not():
    null = Null(tuple(network(0.0) for _ in range(60)), (network(5.0), network(0.0)))
    own = {1: 2.0, 2: -0.5}
    assert null.contesting(own, [{1: 5.0}, {1: -1.0}], 0.05) == {0}
    assert null.contesting(own, [{2: 5.0}, {1: -1.0}], 0.05) == set()
    assert null.contesting({1: -1.0}, [{1: 5.0}, {1: 5.0}], 0.05) == set()  # no suspect without them, either
    assert len(null.without({0})) == 61
    many = replace(null, references=(network(5.0), *[network(0.0)] * 60))
    assert many.contesting(own, [{1: 5.0}] + [{1: -1.0}] * 60, 0.05) == set()  # p is below alpha with it


# --- samples and windows


def test_samples_are_laid_out_by_class_in_turn():
    predicted = torch.tensor([3, 3, 3, 1, 1, 0])
    assert predicted[in_turn(predicted)].tolist() == [3, 1, 0, 3, 1, 3]


def test_log_odds_of_all_classes_are_those_of_each():
    logits = 30 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    each = torch.stack([-log_odds(logits, torch.full((6,), k)) for k in range(5)], 1)
    assert torch.allclose(log_odds_of_all(logits), each, atol=1e-6)


def test_the_grid_reaches_every_edge_and_neighbours_stay_inside():
    boxes, step = grid((17, 21), 3, 15)
    assert {(box[0], box[1]) for box in boxes} >= {(0, 0), (14, 18), (0, 18), (14, 0)}
    assert step == 2
    assert shifted_boxes((0, 0, 3, 3), step, (17, 21)) == [(0, 1, 3, 4), (1, 0, 4, 3), (1, 1, 4, 4)]


def test_a_window_changes_only_its_box_and_is_rounded_to_8_bits():
    samples = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pasted = paste(torch.full((3, 8, 8), 0.5), (1, 2, 4, 5), samples)
    assert (pasted[:, :, 1:4, 2:5] == 128).all()
    changed = (pasted != samples).any(0).any(0)
    assert not changed[4:].any()
    assert not changed[:, 5:].any()


def test_the_window_of_the_planted_class_is_where_the_patch_was_planted():
    with Engine(TROJAN, device="cpu") as engine:
        search, held_out = probes_of(engine, hand.pool(), natural=True)
        contents = window_contents(maximise_margins(engine, torch.tensor([hand.TARGET])).inputs)
        windows = WindowSearch(engine, search, contents, hand.PATCH)
        (window,) = windows.best([Route(hand.TARGET)], held_out)
    assert window.box == (0, 0, hand.PATCH, hand.PATCH)
    assert window.effect.share > 0.8
    assert window.effect.tried == int((held_out.predicted != hand.TARGET).sum())


def test_a_class_is_measured_alike_whatever_its_company():
    with Engine(hand.classifier(), device="cpu") as engine:
        search, held_out = probes_of(engine, hand.pool(), natural=True)
        contents = window_contents(maximise_margins(engine, torch.arange(3)).inputs)
        windows = WindowSearch(engine, search, contents, 3)
        alone, among = (windows.best([Route(k) for k in routes], held_out) for routes in ([2], [0, 1, 2]))
    assert abs(alone[0].effect.share - among[2].effect.share) < 0.05


def test_windows_run_together_and_are_measured_as_each_would_be_alone():
    runs = []
    with ScanEngine(TROJAN, device="cpu", on_images=runs.append) as engine:
        search, held_out = probes_of(engine, hand.pool(), natural=True)
        contents = torch.rand((16, 3, hand.SIDE, hand.SIDE), generator=torch.Generator().manual_seed(0))
        runs.clear()
        WindowSearch(engine, search, contents, 3)
        assert len(runs) <= 2, "a run per content is too many"
        windows = [Window(Route(k), contents[k], (k, 0, k + 8, 8)) for k in range(8)]
        runs.clear()
        together = measure_windows(engine, held_out, windows, 100)
        assert len(runs) == 1
        alone = [measure_windows(engine, held_out, [one], 100)[0].effect for one in windows]
    assert [(one.effect.hits, one.effect.tried) for one in together] == [(one.hits, one.tried) for one in alone]
    assert [one.effect.mean for one in together] == pytest.approx([one.mean for one in alone], rel=1e-4)


def test_marks_raise_logits_alike_whether_they_run_together_or_one_by_one():
    runs = []
    with ScanEngine(hand.classifier(classes=70), device="cpu", on_images=runs.append) as engine:
        search, _ = probes_of(engine, hand.pool(), natural=True)
        runs.clear()
        together = mean_logit_rises(engine, search)
        assert len(runs) <= 4  # of 1,600 images
        engine.micro_batch = 4
        assert torch.allclose(mean_logit_rises(engine, search), together, atol=1e-4)


def test_a_level_is_the_log_odds_of_the_share_and_does_not_saturate():
    draw = torch.Generator().manual_seed(0)
    odds = 2 * torch.randn(20_000, generator=draw) + 1.5
    share = float((odds > 0).float().mean())
    effect = Effect(0, 1, float(odds.mean()), float(odds.std()))
    assert abs(effect.level - math.log(share / (1 - share))) < 0.3
    assert Effect(100, 100, 20.0, 2.0).level > Effect(100, 100, 9.0, 2.0).level + 3


def test_log_odds_of_a_share_count_half_a_sample_on_either_side():
    assert Effect(100, 100, 0.0, 0.0).log_odds == pytest.approx(math.log(100.5 / 0.5))
    assert Effect(0, 100, 0.0, 0.0).log_odds == pytest.approx(-math.log(100.5 / 0.5))


def test_margins_say_nothing_if_no_input_reaches_half_of_the_classes():
    assert not outlyingness(torch.tensor([-1.0, -1.0, 50.0, -2.0])).any()
    assert outlyingness(torch.tensor([1.0, 2.0, 50.0, -2.0])).argmax() == 2


def test_a_margin_is_judged_by_a_gamma_fitted_to_the_margins_of_the_other_classes():
    margins = [3.0, 4.0, 5.0, 4.5, 3.5, 9.0, 100.0]
    for others in (None, [2.0, 3.0, 2.5, 4.0]):
        expected = []
        for k, margin in enumerate(margins):
            fitted = others or [*margins[:k], *margins[k + 1 :]]
            mean, variance = statistics.mean(fitted), statistics.variance(fitted)
            gamma = torch.distributions.Gamma(mean**2 / variance, torch.tensor(mean / variance, dtype=torch.double))
            p = 1 - float(gamma.cdf(torch.tensor(margin, dtype=torch.double))) ** len(margins)
            expected.append(min(3.0, -math.log10(max(p, 1e-12))))
        found = outlyingness(torch.tensor(margins), None if others is None else torch.tensor(others))
        assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[-1] == 3 > expected[3] > 0


def test_a_figure_is_the_window_s_distance_from_the_median_class_and_how_unlikely_the_margin_is():
    """The median counts as -2 at least. With few classes, median and gamma are those of the clean networks that were given."""
    own, other = (
        Measurements(
            search=None, held_out=None, windows=(), side=3, pairs=None, all_to_all=None, tested=3,
            values={"window": torch.tensor(shares), "margin": torch.tensor(margins)},
        )
        for shares, margins in (([-2.0, -1.0, 5.0], [1.1, 1.0, 9.5]), ([-4.0, -3.0, -2.0], [1.0, 1.5, 2.0]))
    )  # fmt: skip
    alone, beside = own.deviations(), own.deviations([other])
    assert alone["window"].tolist() == [-1, 0, 6]
    assert beside["window"].tolist() == [0, 1, 7]
    assert torch.equal(beside["margin"], outlyingness(own.values["margin"], other.values["margin"]))
    assert torch.equal(figures(alone), alone["window"] + outlyingness(own.values["margin"]))


def test_the_largest_margin_is_that_of_the_planted_class():
    with Engine(TROJAN, device="cpu") as engine:
        margins = maximise_margins(engine, torch.arange(hand.CLASSES), steps=30)
    assert int(margins.margin.argmax()) == hand.TARGET
    assert margins.inputs.shape == (hand.CLASSES, 2, 3, hand.SIDE, hand.SIDE)
    assert 0 <= float(margins.inputs.min()) <= float(margins.inputs.max()) <= 1


def test_drawn_images_are_moved_until_every_class_is_predicted():
    pool = hand.pool()
    with Engine(hand.classifier(), device="cpu") as engine:
        search, held_out = probes_of(engine, pool, natural=False)
    assert len(torch.unique(search.predicted)) == len(torch.unique(held_out.predicted)) == hand.CLASSES
    assert isinstance(search, Probes)


def test_drawn_images_are_moved_no_further_than_one_step_beyond_even_odds():
    pixels = hand.pool().pixels
    wanted = torch.randperm(hand.CLASSES, generator=torch.Generator().manual_seed(0)).repeat(len(pixels))[: len(pixels)]
    with Engine(hand.classifier(), device="cpu") as engine:
        moved = move_to_all_classes(engine, pixels).float() / 255
        before, after = (
            engine.gradients(pixels.float() / 255, wanted, "log-odds"),
            engine.gradients(moved, wanted, "log-odds"),
        )
    one_step = LENGTH * torch.maximum(before.gradient.abs().flatten(1).sum(1), after.gradient.abs().flatten(1).sum(1))
    had_to_move = before.loss > 0
    assert had_to_move.any()
    assert bool((after.loss.abs() < 1.5 * one_step)[had_to_move].all())


def test_images_that_are_moved_run_in_few_different_numbers():
    pixels, runs = hand.pool().pixels, []
    with ScanEngine(hand.classifier(), device="cpu", on_images=runs.append) as engine:
        move_to_all_classes(engine, pixels)
    numbers = list(dict.fromkeys(runs))
    assert len(numbers) > 2
    assert all(2 * after <= before for before, after in pairwise(numbers))


def test_the_images_that_a_scan_costs_are_foretold():
    runs = []
    with ScanEngine(hand.classifier(), device="cpu", on_images=runs.append) as engine:
        measure(engine, hand.pool())
    assert 0.5 < sum(runs) / measure_passes(hand.classifier()) < 2


# --- all-to-all, and pairs


def pair(source, target, share):
    effect = Effect(round(60 * share), 60, 6 * share - 3, 1.0)
    return Window(Route(target, source), torch.zeros(3, 2, 2), (0, 0, 1, 1), effect)


def test_easy_pairs_are_shown_with_the_next_one_for_comparison():
    windows = [pair(4, 7, 1.0), pair(4, 9, 0.95), pair(1, 8, 0.6), pair(3, 5, 0.5)]
    assert easy_pairs(windows) == windows[:3]
    assert easy_pairs(windows, suspects=[7]) == windows[1:3]
    assert easy_pairs(windows[2:]) == []


def test_every_class_has_a_target_of_its_own_or_none():
    counts = torch.tensor([[1.0, 9, 0], [9, 1, 0], [5, 5, 0]])  # the third class finds both targets taken
    targets, shares = own_targets(counts)
    assert targets == {0: 1, 1: 0}
    assert shares == {0: pytest.approx(0.9), 1: pytest.approx(0.9), 2: 0.0}
    assert own_targets(torch.tensor([[0.0, 2], [3, 3]]))[1] == {1: 0.5}  # two samples are too few


def test_without_samples_of_most_classes_no_all_to_all_window_is_searched():
    pool = hand.pool()
    with Engine(hand.classifier(), device="cpu") as engine:
        predicted = Probes.classify(engine, pool.pixels)
        few = predicted.pixels[predicted.predicted == predicted.predicted[0]]
    found = scan(hand.classifier(), make_pool(few, "samples of one class"))
    assert found.all_to_all is None
    assert any("five held-out samples" in line for line in found.not_tested)
    assert any(f"Only {len(few)} samples were given" in line for line in found.warnings) is (len(few) < MIN_SAMPLES)


def test_a_scan_of_few_samples_says_so():
    pixels = hand.pool(2 * MIN_SAMPLES).pixels
    for count in (MIN_SAMPLES - 1, MIN_SAMPLES):
        found = scan(hand.classifier(), make_pool(pixels[:count], "few"))
        assert any(f"Only {count} samples were given" in line for line in found.warnings) is (count < MIN_SAMPLES)
        assert (f"Only {count} samples were given" in found._repr_html_()) is (count < MIN_SAMPLES)


@pytest.fixture(scope="module")
def all_to_all():
    """Of a network whose patch sends every class to the next one, one whose patch sends all to one, and a clean one."""
    found = {}
    for name, network in {"shift": hand.classifier(80.0, shift=True), "one": TROJAN, "none": hand.classifier()}.items():
        with Engine(network, device="cpu") as engine:
            found[name] = measure(engine, hand.pool()).all_to_all
    return found


def test_the_window_of_an_all_to_all_backdoor_sends_every_class_to_the_planted_one(all_to_all):
    planted = all_to_all["shift"]
    assert planted.figure > 0.45  # the planted patch itself reaches 0.57
    right = [target == (source + 1) % hand.CLASSES for source, target in planted.targets.items()]
    assert sum(right) >= 0.75 * len(right)
    assert planted.box[0] < hand.PATCH
    assert planted.box[1] < hand.PATCH


def test_a_trigger_that_sends_all_to_one_class_is_no_all_to_all_backdoor(all_to_all):
    assert max(all_to_all["one"].figure, all_to_all["none"].figure) < 0.3


def test_a_notebook_shows_an_all_to_all_window_that_works(all_to_all, found):
    planted = replace(all_to_all["shift"], figure=0.9).compared(0.02, 0.05)
    assert "90 % of held-out samples" in replace(found, all_to_all=planted)._repr_html_()
    html = replace(found, all_to_all=planted.compared(0.2, 0.05))._repr_html_()
    assert "all to all" not in html
    assert "need not look like" in html


def test_an_all_to_all_window_that_works_makes_the_verdict(all_to_all):
    planted = replace(all_to_all["shift"], figure=0.9)
    verdict, (reason,) = decide(0.6, [], planted.compared(0.02, 0.05), "", LABELS)
    assert verdict == "backdoored"
    assert "all-to-all" in reason
    assert " to class " in reason
    assert decide(0.6, [], planted.compared(0.2, 0.05), "", LABELS)[0] == "clean"
    weak = replace(planted, figure=0.3).compared(0.02, 0.05)
    assert decide(0.6, [], weak, "", LABELS)[0] == "clean"


# --- candidate and verdict


def test_the_candidate_is_the_planted_patch_and_works_nowhere_else(found):
    (suspect,) = found.suspects
    candidate = suspect.candidate
    assert (suspect.index, suspect.works, candidate.additive) == (hand.TARGET, True, False)
    top, left, bottom, right = candidate.box
    assert 0 <= top < bottom <= hand.PATCH
    assert 0 <= left < right <= hand.PATCH
    assert candidate.success >= 0.9
    assert candidate.next_success < 0.5
    assert max(rate for place, rate in candidate.places.items() if place != (0, 0)) < 0.5
    assert all(after == hand.TARGET for _, after in candidate.predicted)


def test_a_trigger_that_is_added_everywhere_gets_an_additive_candidate():
    with Engine(TROJAN, device="cpu") as engine:
        measured = measure(engine, hand.pool())
        windows = {one.route.target: one for one in measured.windows}
        candidate = make_candidate(
            engine, measured.search, measured.held_out, windows[hand.TARGET], windows[0], local=False
        )
    assert candidate.additive
    assert candidate.success > 0.8
    assert float(candidate.paint.abs().max()) <= candidate.size + 1e-6
    assert candidate.tried == int((measured.held_out.predicted != hand.TARGET).sum())


def test_a_backdoor_made_by_hand_is_found_and_a_clean_network_is_clean(found):
    assert (found.verdict, found.exit_code) == ("backdoored", 1)
    assert found.classes[0].index == hand.TARGET
    assert "class 2" not in found.not_tested
    assert found._repr_html_().count("<img") == 1
    names = re.escape(", ".join(one.label for one in found.suspects))
    assert re.fullmatch(rf"Verdict\('hand-made', {found.verdict}, p [\d.e-]+, \d suspects?: {names}\)", repr(found))
    for one in (found.suspects[0], found.suspects[0].candidate, found.all_to_all):
        assert len(repr(one)) < 100, repr(one)
    clean = scan(hand.classifier(), hand.pool())
    assert (clean.verdict, clean.suspects) == ("clean", ())
    assert len(clean.classes) == hand.CLASSES


def test_a_reference_with_the_same_backdoor_does_not_make_the_network_clean():
    """But one that is clean leaves the verdict as it is."""
    sibling = hand.classifier(40.0, name="sibling")
    sibling.module.templates.mul_(0.999)
    other = hand.classifier(seed=5, name="other")
    told = scan(TROJAN, hand.pool(), reference=[sibling, other])
    assert (told.verdict, told.left_out) == ("inconclusive", ("sibling",))
    assert [(one.index, one.works, one.contested_by) for one in told.suspects] == [(hand.TARGET, True, ("sibling",))]
    (reason,) = told.reasons
    assert f"Class {hand.TARGET} deviates unusually far" in reason
    assert f"(p = {told.p_value:.2g}; its candidate trigger sends" in reason
    assert "but reference sibling deviates as far in the same class, so it is not counted" in reason
    assert told.p_value < 0.05
    assert told.null.endswith("and 1 given as references")
    assert scan(TROJAN, hand.pool(), reference=[other]).verdict == "backdoored"


def suspect(index, success, like):
    return Suspect(index, f"class {index}", 0.01, replace(like, index=index, success=success))


def test_a_class_far_below_alpha_has_a_candidate_that_works_even_if_the_next_class_can_be_reached(found):
    easy = replace(found.suspects[0].candidate, success=0.9, next_success=0.9)
    assert not Suspect(0, "class 0", 0.02, easy).works
    assert Suspect(0, "class 0", 0.01, easy, far_below_alpha=True).works
    assert not Suspect(0, "class 0", 0.01, replace(easy, success=0.7), far_below_alpha=True).works


@pytest.mark.parametrize(
    ("rates", "doubt", "verdict", "named"),
    [
        ([], "", "clean", 0),
        ([0.95], "", "backdoored", 1),
        ([0.3], "", "inconclusive", 1),
        ([0.3, 0.95], "", "backdoored", 1),
        ([0.95, 0.95, 0.95], "", "backdoored", 3),  # more evidence is never weaker
        ([], "too few", "inconclusive", 1),
    ],
)
def test_verdicts(found, rates, doubt, verdict, named):
    suspects = [suspect(index, rate, found.suspects[0].candidate) for index, rate in enumerate(rates)]
    given, reasons = decide(0.01, suspects, None, doubt, LABELS)
    assert given == verdict
    assert len(reasons) == max(named, 1)


def test_an_all_to_all_backdoor_that_a_reference_has_too_is_not_called_clean(all_to_all):
    window = replace(all_to_all["shift"], figure=0.9)
    shipped = tuple(replace(network(1.0), all_to_all=0.1) for _ in range(60))
    null = Null(shipped, (replace(network(1.0), all_to_all=0.95), replace(network(1.0), all_to_all=0.1)), shipped)
    assert null.contesting_all_to_all(window, 0.05) == {0}
    assert null.contesting_all_to_all(replace(window, figure=0.3), 0.05) == set()
    assert null.contesting_all_to_all(None, 0.05) == set()
    verdict, (reason,) = decide(0.6, [], window, "", LABELS, alike_all_to_all=["sibling"])
    assert verdict == "inconclusive"
    assert "reference sibling deviates as far in that" in reason


def test_a_contested_suspect_does_not_weaken_another_one(found):
    like = found.suspects[0].candidate
    contested = replace(suspect(0, 0.95, like), contested_by=("one", "two"))
    verdict, (reason,) = decide(0.01, [contested], None, "", LABELS)
    assert (verdict, "references one, two deviate as far" in reason) == ("inconclusive", True)
    assert decide(0.01, [contested, suspect(1, 0.95, like)], None, "", LABELS)[0] == "backdoored"


def test_a_suspect_without_a_label_is_named_by_its_index(found):
    labels = ("class 3", "", "stop, sign")
    assert [replace(found.suspects[0], index=3, label=one).name for one in labels] == ["3", "3", "'stop, sign'"]


def test_what_could_decide_is_what_was_not_given(found):
    unsure = [suspect(0, 0.3, found.suspects[0].candidate)]
    few, enough = hand.pool(MIN_SAMPLES - 2), hand.pool()
    _, (reason,) = decide(0.01, unsure, None, "", LABELS, fixes=fixes(few, natural=True, range_doubt="a doubt"))
    assert (
        "To decide, check the declared input (phosphene doctor), or give 96 samples or more, or give clean net"
        in reason
    )
    assert fixes(enough, natural=False, range_doubt="") == ["give natural samples"]
    assert fixes(enough, natural=True, range_doubt="") == []


def test_a_clean_verdict_names_how_many_classes_were_tested():
    _, (reason,) = decide(0.6, [], None, "", LABELS, tested=5)
    assert reason.startswith("None of the 5 of 8 classes that were tested deviates unusually far")
    assert decide(0.6, [], None, "", LABELS, tested=8)[1][0].startswith("No class deviates unusually far")


def test_reasons_call_not_quite_all_not_all(found):
    """228 of 229 samples are more than 99 %, and not all of them."""
    like = found.suspects[0].candidate
    almost = suspect(0, 228 / 229, like)
    _, (reason,) = decide(0.01, [almost], None, "", LABELS)
    assert f"sends > 99 % of {like.tried} held-out samples" in reason
    alike = Suspect(0, "class 0", 0.02, replace(like, success=0.9, next_success=228 / 229))
    _, (reason,) = decide(0.02, [alike], None, "", LABELS)
    assert "sends > 99 % of held-out samples to the next class" in reason


def test_progress_rises_to_the_end():
    seen = []
    scan(hand.classifier(), hand.pool(), on_progress=seen.append)
    shares = [one.share for one in seen]
    assert shares == sorted(shares)
    assert shares[-1] > 0.5
    assert {one.doing for one in seen} == {"search windows"}


# --- what is odd


def test_two_classes_are_too_few_without_references():
    found = scan(hand.classifier(classes=2), hand.pool())
    assert (found.verdict, found.exit_code) == ("inconclusive", 3)
    assert any("fewer than three classes" in line for line in found.not_tested)
    assert "as references" in found.reasons[0]
    given = scan(hand.classifier(classes=2), hand.pool(), reference=[hand.classifier(classes=2, seed=5)])
    assert given.verdict == "clean"


@pytest.mark.parametrize(("classes", "channels", "window"), [(43, 3, 2), (6, 1, 2), (70, 4, 3)])
def test_odd_networks_get_a_verdict_by_windows_of_a_tenth_of_the_side_or_a_fifth_above_64_classes(
    classes, channels, window
):
    net = hand.classifier(classes=classes, channels=channels)
    found = scan(net, hand.pool(channels=channels))
    assert (found.num_classes, found.window) == (classes, window)
    assert 0 <= found.p_value <= 1
    assert all(math.isfinite(row.figure) for row in found.classes)


def test_what_cannot_be_scanned_is_refused():
    constant, broken = hand.classifier(), hand.classifier()
    constant.module.templates.zero_()
    broken.module.templates.fill_(math.nan)
    with pytest.raises(CardError, match="same output for every"):
        scan(constant, hand.pool())
    with pytest.raises(NumericError, match="NaN"):
        scan(broken, hand.pool())
    with pytest.raises(RecipeError, match="alpha"):
        check_alpha(1.5, hand.classifier(), natural=True)
    with pytest.raises(SamplesError, match=r"has 2 samples: a scan takes 3 or more"):
        scan(hand.classifier(), make_pool(hand.pool().pixels[:2], "two"))
    with pytest.raises(CardError, match=r"reference grey takes images with 1 channel, hand-made with 3"):
        require_comparable(hand.classifier(), [hand.classifier(channels=1, name="grey")])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x.sqrt() ** 2, NumericError, "returns gradients that are NaN or infinity"),
        (lambda x: (x * 255).round() / 255, CardError, "gradient of exactly zero"),
    ],
)
def test_a_network_whose_gradients_mean_nothing_is_not_called_clean(change, error, message):
    before = hand.classifier(40.0)
    forward = before.module.forward
    before.module.forward = lambda x: forward(change(x))
    with pytest.raises(error, match=message):
        scan(before, hand.pool())


def test_a_network_that_is_nan_on_what_a_search_makes_is_not_called_backdoored():
    unsure = hand.classifier()
    forward = unsure.module.forward

    def nan_between_classes(x):
        logits = forward(x)
        ordered = logits.sort(1).values
        samples = (x * 255 - (x * 255).round()).abs().amax((1, 2, 3), keepdim=True)[:, :, 0, 0] < 1e-3
        return torch.where(samples, logits, math.nan * ordered)

    unsure.module.forward = nan_between_classes
    with pytest.raises(NumericError, match="NaN"):
        scan(unsure, hand.pool())


def test_the_next_class_is_never_the_suspect_itself():
    rows = [ClassRow(k, f"class {k}", 0.9, 100, {}, 9.0 - k, p) for k, p in enumerate((0.01, 0.02, 0.04))]
    assert [next_class(row, rows, 0.05).index for row in rows] == [2, 2, 1]
    assert [next_class(row, rows, 0.03).index for row in rows[:2]] == [2, 2]


def test_a_network_that_predicts_one_class_for_all_samples_gets_a_verdict():
    one_sided = hand.classifier()
    one_sided.module.register_buffer("bias", 50 * torch.eye(hand.CLASSES)[3])
    forward = one_sided.module.forward
    one_sided.module.forward = lambda x: forward(x) + one_sided.module.bias
    found = scan(one_sided, hand.pool())
    assert sorted(row.index for row in found.classes) == [one for one in range(hand.CLASSES) if one != 3]
    assert any("predicts 'class 3' for every held-out sample" in line for line in found.not_tested)
    assert found.pairs is None or not easy_pairs(found.pairs)
