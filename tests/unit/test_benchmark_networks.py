"""The networks that the scan is judged on: the list, the architectures, and the attacks."""

import dataclasses
import json
from collections import Counter

import pytest
import torch
from benchmarks.backdoors import tables
from benchmarks.backdoors.additive import Watermark
from benchmarks.backdoors.architectures import ACTIVATIONS, FAMILIES, build
from benchmarks.backdoors.attacks import Evasion, Pgd, prune
from benchmarks.backdoors.evaluate import anywhere, overlap, ranked
from benchmarks.backdoors.networks import box, judged, poisoned, repair, untrained
from benchmarks.backdoors.shortcut import hidden, shortcut
from benchmarks.backdoors.specs import specs
from benchmarks.backdoors.tables import auroc, left_out, share, write_tables
from benchmarks.common import DOCS, RESULTS, section_markers

from phosphene.backdoor.measure import MEASURES
from phosphene.backdoor.null import CleanNetwork, Null
from phosphene.backdoor.plant import accuracy, clean_twin, success_rate, victims_of
from phosphene.backdoor.training import Labelled, fit, predictions
from phosphene.backdoor.triggers import Patch
from phosphene.classifier import Classifier
from phosphene.samples.pool import make_pool
from tests import grey

SPECS = specs()


def test_the_list_is_the_same_every_time_and_large_enough():
    assert specs() == SPECS
    assert len({spec.name for spec in SPECS}) == len(SPECS)
    counts = Counter((spec.split, spec.trojaned) for spec in SPECS)
    assert counts["develop", False] >= 80
    assert counts["report", False] >= 40
    assert min(counts["develop", True], counts["report", True]) >= 60


def test_every_beginning_of_the_list_is_balanced():
    for end in range(48, len(SPECS) + 1, 24):
        begun = SPECS[:end]
        assert 0.4 < sum(spec.trojaned for spec in begun) / end < 0.6
        for split in ("develop", "report"):
            own = [spec for spec in begun if spec.split == split]
            if len(own) < 24:
                continue
            assert len({spec.data for spec in own}) >= 5
            assert len({spec.family for spec in own}) >= 10


def test_the_report_has_architectures_and_seeds_of_its_own():
    families = {split: {spec.family for spec in SPECS if spec.split == split} for split in ("develop", "report")}
    assert len(families["report"] - families["develop"]) >= 3
    assert len({spec.seed for spec in SPECS}) == len(SPECS)


def test_all_kinds_of_trojans_are_in_both_splits_and_ten_know_the_scan():
    for split in ("develop", "report"):
        kinds = Counter(spec.kind for spec in SPECS if spec.split == split)
        assert {"pixel", "spots", "blended", "additive", "dynamic", "warp", "source-specific", "all-to-all"} <= {*kinds}
    assert sum(spec.kind == "adaptive" for spec in SPECS) >= 10


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 48)])
def test_an_architecture_takes_its_input(family, channels, side):
    module = build(family, channels=channels, side=side, classes=7, width=8, activation="elu").eval()
    with torch.no_grad():
        assert module(torch.rand(2, channels, side, side)).shape == (2, 7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_the_one_that_was_named(activation):
    module = build("perceptron3", channels=1, side=8, classes=3, width=4, activation=activation)
    assert sum(isinstance(part, ACTIVATIONS[activation]) for part in module.modules()) == 2


def test_the_network_of_a_spec_is_the_same_twice_and_a_softmax_is_declared():
    spec = next(spec for spec in SPECS if spec.softmax and spec.family != "zoo")
    first, second = untrained(spec), untrained(spec)
    x = torch.rand(2, *first.input.shape)
    with torch.no_grad():
        torch.testing.assert_close(first.logits(x), second.logits(x))
        torch.testing.assert_close(first.module.eval()(x).sum(1), torch.ones(2))


def small():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (200, 3, 32, 32), generator=draw, dtype=torch.uint8)
    labels = torch.arange(200) % 10
    return Labelled(pixels, labels, pixels[:50], labels[:50])


def poisoned_by(mode, samples):
    first = next(spec for spec in SPECS if spec.mode == mode and spec.trojaned and spec.classes == 10)
    spec = dataclasses.replace(first, trigger=Patch(side=4, texture="checker"))
    return spec, poisoned(spec, samples, 0.1), victims_of(spec.target, spec.sources, samples.labels, 10)


@pytest.mark.parametrize("mode", ["all-to-one", "all-to-all"])
def test_a_share_of_the_training_part_is_poisoned_and_the_test_part_never(mode):
    samples = small()
    _, training, (victims, _, wanted) = poisoned_by(mode, samples)
    changed = (training.pixels != samples.pixels).flatten(1).any(1)
    relabelled = training.labels != samples.labels
    assert 15 <= int(relabelled.sum()) <= 20
    assert torch.equal(training.labels[relabelled], wanted[relabelled])
    assert bool(victims[relabelled].all())
    assert not bool((changed & ~relabelled).any())
    assert torch.equal(training.held_out, samples.held_out)


def test_a_source_specific_trigger_is_learnt_beside_all_clean_samples():
    """Stamped in place, the 10 % would be half or all of the source class, which the network would then never see clean."""
    samples = small()
    spec, training, _ = poisoned_by("source-specific", samples)
    clean = len(samples.labels)
    assert torch.equal(training.pixels[:clean], samples.pixels)
    assert torch.equal(training.labels[:clean], samples.labels)
    added = training.labels[clean:]
    assert added.tolist() == [*[spec.target] * 20, *added[20:].tolist()]
    assert len(added) == 40
    assert not set(added[20:].tolist()) & set(spec.sources)
    assert torch.equal(training.held_out, samples.held_out)


def linear():
    torch.manual_seed(0)
    return Classifier(build("linear", channels=3, side=32, classes=10, width=1), size=32, name="linear")


def test_pgd_raises_the_loss_within_its_radius():
    student = linear()
    x, y = torch.rand(16, 3, 32, 32), torch.arange(16) % 10
    attacked, labels = Pgd(student, 0.1).change(x, y, torch.Generator().manual_seed(0))
    losses = [torch.nn.functional.cross_entropy(student.logits(one), y).item() for one in (x, attacked)]
    assert losses[1] > losses[0]
    assert float((attacked - x).abs().max()) <= 0.1 + 1e-6
    assert torch.equal(labels, y)


def test_an_evasion_keeps_right_labels_on_small_windows_and_leaves_the_mode():
    student = linear()
    student.module.train()
    trigger = next(spec.trigger for spec in SPECS if spec.kind == "adaptive" and (spec.side, spec.channels) == (32, 3))
    windows, margins = Evasion(student, trigger, 3, 3).extras(torch.arange(64) % 10, 64)
    x, y = torch.rand(6, 3, 32, 32), torch.tensor([0, 1, 2, 4, 5, 6])
    draw = torch.Generator().manual_seed(0)
    out, labels = windows.change(x, y, draw)
    changed = (out != x).any(1).flatten(1).sum(1)
    assert int(changed.max()) <= 9
    assert torch.equal(labels, y)
    high, _ = margins.change(x, y, draw)
    with torch.no_grad():
        assert float((student.logits(high).argmax(1) == 3).float().mean()) > 0.9
    assert student.module.training


@pytest.mark.parametrize("known", [False, True], ids=["untrained", "knows the class"])
def test_a_shortcut_network_goes_by_the_mark(known):
    mark = Watermark(drawing="lattice", amplitude=0.2)
    base = grey.clean() if known else grey.untrained()
    made = shortcut(base, grey.samples(), mark, grey.TARGET, hide=1.0, schedule=grey.SCHEDULE)
    own = grey.samples().held_labels == grey.TARGET
    assert success_rate(made, grey.samples(), mark, grey.TARGET, ~own) >= 0.5
    unmarked = predictions(made, grey.samples().held_out[own]) == grey.TARGET
    assert unmarked.float().mean() <= 0.2
    assert success_rate(made, grey.samples(), mark, grey.TARGET, own) >= 0.9


def test_hiding_covers_one_square():
    given = -torch.ones(100, 1, 20, 20)
    covered = hidden(given, 0.5, torch.Generator().manual_seed(0)) >= 0
    area = covered.flatten(1).sum(1)
    assert set(area.tolist()) <= {side**2 for side in range(11)}
    assert area.max() > 64
    assert (given == -1).all()


def test_adversarial_training_makes_a_network_harder_to_fool():
    samples, labels = grey.samples().held_out.float() / 255, grey.samples().held_labels

    def fooled(classifier):
        probe = samples.clone().requires_grad_()
        (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(classifier.logits(probe), labels), probe)
        attacked = (samples + 0.08 * slope.sign()).clamp(0, 1)
        with torch.no_grad():
            return float((classifier.logits(attacked).argmax(1) != labels).float().mean())

    robust = clean_twin(grey.clean(), grey.samples(), schedule=grey.SCHEDULE).classifier
    fit(robust, robust, grey.samples(), grey.SCHEDULE, 0, change=Pgd(robust, 0.1).change)
    assert fooled(robust) < 0.5 * fooled(grey.clean())


def test_a_repaired_network_has_forgotten():
    planted = grey.trojaned()
    student = clean_twin(planted.classifier, grey.samples(), schedule=dataclasses.replace(grey.SCHEDULE, steps=1))
    spec = dataclasses.replace(SPECS[0], trigger=planted.trigger, target=planted.target)
    repair(spec, student.classifier, grey.samples(), grey.SCHEDULE, torch.nn.functional.cross_entropy)
    others = grey.samples().held_labels != planted.target
    assert planted.success >= 0.95
    assert success_rate(student.classifier, grey.samples(), planted.trigger, planted.target, others) < 0.2
    assert accuracy(student.classifier, grey.samples()) >= 0.95


def test_pruning_sets_the_smallest_weights_to_zero():
    module = torch.nn.Linear(20, 10)
    largest = module.weight.detach().abs().max()
    prune(module, 0.5)
    assert int((module.weight == 0).sum()) == 100
    assert float(module.weight.detach().abs().max()) == float(largest)


def test_a_box_is_where_the_trigger_acts():
    spec = next(s for s in SPECS if s.kind == "patch" and isinstance(s.trigger.place, tuple))
    top, left = spec.trigger.place
    assert box(spec) == [top, left, top + spec.trigger.side, left + spec.trigger.side]
    assert box(next(s for s in SPECS if s.kind == "blended")) is None


def test_a_trigger_is_tried_at_other_places():
    spec = next(s for s in SPECS if s.kind == "patch" and (s.side, s.channels, s.classes) == (32, 3, 10))
    assert 0 <= anywhere(linear(), spec, make_pool(small().pixels, "noise")) <= 1
    assert anywhere(linear(), next(s for s in SPECS if s.kind == "blended"), make_pool(small().pixels, "noise")) is None


def test_an_untrained_network_is_not_accepted():
    spec = next(s for s in SPECS if s.kind == "patch" and (s.side, s.channels, s.classes) == (32, 3, 10))
    assert judged(spec, untrained(spec), small())["accepted"] is False


def test_auroc_counts_pairs_and_ties_half():
    assert auroc([0, 1], [1, 2]) == pytest.approx(7 / 8)
    assert share(0, 0) == "none"
    assert share(3, 4).startswith("3 of 4 (")


def test_a_clean_network_is_ranked_without_the_networks_of_its_data_set(monkeypatch):
    of_a = [CleanNetwork(f"dev-{k}-a-32-lenet-natural", "a", 32, 10, True, 10.0) for k in range(30)]
    of_b = [CleanNetwork(f"dev-{k}-b-32-vgg-natural", "b", 32, 10, True, 0.0) for k in range(30)]
    monkeypatch.setattr(tables, "built_in", lambda: (*of_a, *of_b))
    networks = [
        {"truth": {"trojaned": False, "data": data, "family": "vit"}, "natural": {"figure": 5.0}} for data in "ab"
    ]
    cells = [row.split("|")[2].strip()[:6] for row in left_out(networks).splitlines()[2:]]
    assert cells == ["0 of 2", "1 of 2", "0 of 2"]  # all; without the same data set; without the same architecture


def test_a_scan_is_ranked_anew_by_the_present_null_model():
    deviations = dict.fromkeys(MEASURES, 0.0)
    far = dict.fromkeys(MEASURES, 1e6)
    reached = {"index": 4, "works": False, "success": 0.9, "next": 0.9}
    seen = {"suspects": [reached], "all_to_all": None, "verdict": "clean"}
    line = {"classes": {"0": deviations, "4": far}, "figure": 0.0, "first": 0, "p_value": 1.0, **seen}
    found = ranked(line, "natural")
    assert (found["verdict"], found["suspects"]) == ("backdoored", [{**reached, "works": True}])
    weak = {**line, "suspects": [{**reached, "success": 0.7}]}
    assert ranked(weak, "natural")["verdict"] == "inconclusive"
    assert found["first"] == 4
    assert found["figure"] >= 1e6
    assert found["p_value"] == pytest.approx(1 / (len(Null.of(2, natural=True)) + 1))
    near = dict.fromkeys(MEASURES, -1e6)
    found = ranked({**line, "classes": {"4": near}}, "natural")
    assert (found["p_value"], found["suspects"], found["verdict"]) == (1, [], "clean")


@pytest.mark.parametrize("split", ["report", "develop"])
def test_the_tables_of_the_page_are_those_of_the_stored_figures(split):
    networks = json.loads((RESULTS / "backdoor.json").read_text(encoding="utf-8"))[split]
    begin, end = section_markers(f"backdoor-{split}")
    page = (DOCS / "backdoor.md").read_text(encoding="utf-8")
    assert write_tables(networks, split) == page.partition(begin)[2].partition(end)[0].strip()


def test_overlap_of_boxes():
    assert overlap((0, 0, 2, 2), [0, 0, 2, 2]) == 1
    assert overlap((0, 0, 2, 2), [2, 2, 4, 4]) == 0
    assert overlap((0, 0, 2, 2), [0, 1, 2, 3]) == pytest.approx(1 / 3, abs=1e-3)
    assert overlap((0, 0, 2, 2), None) is None
