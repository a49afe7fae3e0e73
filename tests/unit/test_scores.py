"""Scores of a target: the figures beside M_score, concept by concept, contrast by contrast; and reading the maps."""

import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import phosphene as ph
from phosphene.arguments import to_concepts
from phosphene.concept_map import render
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.errors import ConceptError, NumericError, RunError, SpecError
from phosphene.metrics import predictions
from phosphene.metrics.bootstrap import m_score_interval, wilson
from phosphene.metrics.m_score import divergences, m_score_of_logits
from phosphene.metrics.matching import MatchedMaps, match_maps
from phosphene.metrics.predictions import logits_at_contrasts, logits_of_maps
from phosphene.metrics.scorecard import Confusion, Score
from phosphene.metrics.scores import CONTRASTS, score_of_logits
from tests import tiny
from tests.reference import paper

NAMES = ["ant", "bee", "cat", "dog, hound"]


def matched(concepts, classes, labels):
    """Match maps of classes, given by index and label."""
    return MatchedMaps([Concept.of_class(*one) for one in concepts], classes, labels)


def scored(rows, concepts=((0, "ant"), (1, "bee"), (3, "dog")), classes=None):
    """Score the same answers at every contrast."""
    logits = torch.tensor(rows).expand(len(CONTRASTS), -1, -1)
    return score_of_logits(logits, matched(concepts, classes or {0: 0, 1: 1, 3: 3}, NAMES), source="s", target="t")


def test_confident_and_distinct_gives_one():
    score = scored([[99.0, 0, 0, 0], [0, 99.0, 0, 0], [0, 0, 0, 99.0]])
    assert (score.m_score, score.top1_concepts, score.top1_all, score.p_class) == (1, 1, 1, 1)
    assert score.interval == (1, 1)
    assert score.top1_all_interval == pytest.approx((0.4385, 1), abs=1e-4)
    assert (score.maps, score.concepts, score.classes) == (3, 3, 4)
    assert all(one.right == one.maps == 1 and one.misread == () for one in score.per_concept)


def test_all_alike_gives_one_over_l():
    score = scored([[2.0, 1, 5, 0]] * 3)
    assert score.m_score == pytest.approx(1 / 3)
    assert score.top1_all == 0  # all are read as the cat, which is none of the concepts
    assert score.top1_concepts == pytest.approx(1 / 3)
    assert [one.misread for one in score.per_concept] == [(Confusion(2, "cat", 1),)] * 3


def test_two_classes_by_hand():
    """p = (0.9, 0.1) and (0.5, 0.5) among two concepts, 0.45 and 0.25 of the class with a third class as likely."""
    rows = torch.tensor([[0.45, 0.05, 0.5], [0.25, 0.25, 0.5]]).log()
    logits = rows.expand(len(CONTRASTS), -1, -1)
    score = score_of_logits(logits, matched([(5, "a"), (7, "b")], {5: 0, 7: 1}, ["A", "B", "C"]))
    kl = [0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.3), 0.5 * math.log(0.5 / 0.7) + 0.5 * math.log(0.5 / 0.3)]
    assert score.m_score == pytest.approx(math.exp(sum(kl) / 2) / 2)
    assert score.interval == pytest.approx((math.exp(kl[1]) / 2, math.exp(kl[0]) / 2))  # of two maps: either, twice
    assert score.p_class == pytest.approx((0.45 + 0.25) / 2)
    assert score.top1_all == 0
    assert score.top1_concepts == 0.5  # a tie is read as the first
    assert [(one.index, one.target_index, one.p_class) for one in score.per_concept] == [
        (5, 0, pytest.approx(0.45)),
        (7, 1, pytest.approx(0.25)),
    ]


def test_each_concept_counts_its_maps_and_what_they_are_read_as():
    concepts = [(0, "ant")] * 5 + [(3, "dog")] * 2
    rows = torch.zeros(7, 4)
    for row, read in enumerate([0, 1, 2, 2, 3, 3, 1]):
        rows[row, read] = 4.0
    score = scored(rows.tolist(), concepts, {0: 0, 3: 3})
    ant, dog = score.per_concept
    assert (ant.maps, ant.right, dog.maps, dog.right) == (5, 1, 2, 1)
    assert ant.misread == (
        Confusion(2, "cat", 2),
        Confusion(1, "bee", 1),
        Confusion(3, "dog, hound", 1),
    )
    assert dog.misread == (Confusion(1, "bee", 1),)
    assert (ant.label, dog.label, dog.target_index) == ("ant", "dog", 3)
    assert score.top1_all == pytest.approx(2 / 7)
    assert score.top1_all_interval == wilson(2, 7)
    p_right, p_wrong = math.exp(4) / (math.exp(4) + 3), 1 / (math.exp(4) + 3)
    assert ant.p_class == pytest.approx((p_right + 4 * p_wrong) / 5)


def test_only_the_most_frequent_misreadings_are_kept():
    concepts = [(0, "a")] * 8 + [(1, "b")]
    rows = torch.zeros(9, 6)
    for row, read in enumerate([2, 3, 3, 4, 4, 4, 5, 5, 1]):
        rows[row, read] = 4.0
    logits = rows.expand(len(CONTRASTS), -1, -1)
    first = score_of_logits(logits, matched(concepts, {0: 0, 1: 1}, list("abcdef"))).per_concept[0]
    assert [(one.index, one.count) for one in first.misread] == [(4, 3), (3, 2), (5, 2)]


def test_the_sweep_stands_beside_the_score_and_the_score_is_that_at_contrast_0_2():
    torch.manual_seed(0)
    logits = torch.randn(len(CONTRASTS), 6, 4) * torch.arange(1, 8)[:, None, None]
    concepts = [(0, "ant"), (1, "bee"), (3, "dog")] * 2
    score = score_of_logits(logits, matched(concepts, {0: 0, 1: 1, 3: 3}, NAMES))
    assert [point.contrast for point in score.contrast_sweep] == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4]
    for point, rows in zip(score.contrast_sweep, logits, strict=True):
        assert point.m_score == pytest.approx(paper.m_score(rows, [0, 1, 3]))
        read = rows.argmax(1).tolist()
        assert point.top1_all == pytest.approx(sum(a == b for a, b in zip(read, [0, 1, 3] * 2, strict=True)) / 6)
    assert len({point.m_score for point in score.contrast_sweep}) == 7
    own = score.contrast_sweep[3]
    assert (score.m_score, score.top1_all, score.top1_concepts, score.p_class) == (
        *(own.m_score, own.top1_all, own.top1_concepts, own.p_class),
    )
    assert score.interval == m_score_interval(divergences(logits[3], [0, 1, 3]), 3)


def test_to_json_and_back():
    score = scored([[1.0, 3, 0, 2], [0, 1, 2, 0], [0, 0, 1, 9]])
    assert any(one.misread for one in score.per_concept)
    assert Score.from_dict(json.loads(json.dumps(score.to_dict())) | {"another": "entry"}) == score


def test_scores_of_earlier_versions_open():
    score = scored([[1.0, 3, 0, 2], [0, 1, 2, 0], [0, 0, 1, 9]])
    old = {key: value for key, value in score.to_dict().items() if key not in ("multi_label", "m_score_note")}
    assert Score.from_dict(old) == score


@pytest.mark.parametrize(
    "change",
    [
        {"m_score": "high"},
        {"interval": [1]},
        {"multi_label": "yes"},
        {"maps": 2.5},
        {"source": None},
        {"per_concept": [{"index": 0}]},
        {"per_concept": [7]},
        {"contrast_sweep": None},
    ],
)
def test_what_is_no_score_is_no_score(change):
    data = scored([[1.0, 3, 0, 2]] * 3).to_dict() | change
    with pytest.raises((KeyError, TypeError, ValueError)):
        Score.from_dict(data)


# --- the maps' pictures


def by_hand(classifier, maps, contrast):
    """Logits of the pictures, one after another, by the module itself."""
    rows = []
    for one in maps:
        picture = (0.5 - contrast * one.nu / one.nu.std(correction=0)).clamp(0, 1)[None]
        if picture.shape[-2:] != classifier.input.size:
            picture = functional.interpolate(picture, classifier.input.size, mode="bilinear", antialias=True)
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (classifier.input.mean, classifier.input.std))
        with torch.no_grad():
            rows.append(classifier.module((picture - mean) / std)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("size", [16, 9, 24, (12, 20)])
@pytest.mark.parametrize("contrast", [0.05, 0.4])
def test_pictures_are_rendered_at_the_source_size_and_resized_with_antialiasing(size, contrast):
    maps = [tiny.concept_map(index, seed) for index in (0, 1, 3) for seed in (0, 1)]
    target = tiny.classifier(1, size=size)
    with Engine(target, device="cpu") as engine:
        found = logits_of_maps(engine, maps, contrast)
    torch.testing.assert_close(found, by_hand(target, maps, contrast))


def test_the_default_contrast_is_that_of_the_score_whatever_the_map_shows():
    maps = [tiny.concept_map(0, contrast=0.7), tiny.concept_map(3)]
    with Engine(tiny.classifier(), device="cpu") as engine:
        found = logits_of_maps(engine, maps)
    torch.testing.assert_close(found, by_hand(tiny.classifier(), maps, 0.2))


def test_many_maps_are_rendered_a_few_at_a_time(monkeypatch):
    sizes = []
    monkeypatch.setattr(predictions, "BATCH_PIXELS", 3 * 24 * 24)  # the target is the larger one
    monkeypatch.setattr(predictions, "render", lambda nu, contrast: sizes.append(len(nu)) or render(nu, contrast))
    maps = [tiny.concept_map(0, seed) for seed in range(7)]
    target = tiny.classifier(1, size=24)
    with Engine(target, device="cpu") as engine:
        found = logits_at_contrasts(engine, iter(maps), [0.1, 0.3])
    assert sizes == [3, 3, 3, 3, 1, 1]
    torch.testing.assert_close(found[1], by_hand(target, maps, 0.3))


def test_maps_of_several_sizes():
    maps = [tiny.concept_map(0), tiny.concept_map(1, nu=torch.randn(3, 9, 11)), tiny.concept_map(3)]
    with Engine(tiny.classifier(), device="cpu") as engine:
        torch.testing.assert_close(logits_of_maps(engine, maps), by_hand(tiny.classifier(), maps, 0.2))


def test_a_target_of_other_channels():
    grey = ph.Classifier(
        nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        size=16,
        mean=[0.5],
        std=[0.5],
        labels=tiny.LABELS,
        name="grey",
    )
    with pytest.raises(SpecError, match=r"grey takes images of 1 channel.*the maps have 3"):
        ph.score([tiny.concept_map(0), tiny.concept_map(3)], grey)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_target_that_answers_with_nan(value):
    target = tiny.classifier(name="broken")
    with torch.no_grad():
        target.module[7].bias[2] = value
    with pytest.raises(NumericError, match="network broken returns NaN or infinity"):
        ph.score([tiny.concept_map(0), tiny.concept_map(3)], target)


def test_nothing_to_score():
    with pytest.raises(ConceptError, match="no maps"):
        ph.score([], tiny.classifier())
    with pytest.raises(RunError, match="name a target"):
        ph.score([tiny.concept_map(0), tiny.concept_map(1)])
    with pytest.raises(ConceptError, match="there are none"):
        m_score_of_logits(torch.zeros(0, 4), [0, 1])


@pytest.mark.parametrize(
    ("expressions", "right"),
    [
        (["lion"], [1, 1]),
        (["lion vs crane (1)"], [1, 0]),
        (["lion vs crane (1)", "lion vs crane (2)"], [1, 0, 0, 1]),
    ],
)
def test_concepts_that_pull_up_the_same_have_top_1_and_no_m_score(expressions, right):
    """The lion's logit is 2, those of the cranes 1 and 3, or the other way round."""
    network = tiny.classifier()
    concepts = [to_concepts(one, network)[0] for one in expressions for _ in range(2)]
    rows = torch.tensor([[2.0, 1, 3, 0, 0], [2, 3, 1, 0, 0]] * len(expressions))
    if expressions == ["lion"]:
        rows[:, 0] = 9
    score = score_of_logits(rows.expand(len(CONTRASTS), -1, -1), match_maps(concepts, network))
    assert (score.m_score, score.interval, score.top1_concepts, score.top1_concepts_interval) == (None,) * 4
    assert score.m_score_note == "M_score tells concepts apart, and all these maps are of one: map another."
    assert score.top1_all == sum(right) / len(right)
    assert (score.concepts, [one.right for one in score.per_concept]) == (
        1,
        [sum(right[:2]), sum(right[2:])][: len(expressions)],
    )
    assert "M_score -, top-1" in repr(score)
    again = json.loads(json.dumps(score.to_dict()))
    assert (again["m_score"], again["m_score_note"]) == (None, score.m_score_note)
    assert Score.from_dict(again) == score


# --- in Python


def test_score_in_python_matches_labels_and_names_source_and_targets():
    maps = [tiny.concept_map(index, seed) for index in (0, 3, 4) for seed in (0, 1)]
    order = [4, 2, 0, 1, 3]  # the target's class that each of the source's is
    other = tiny.classifier(7, labels=[tiny.LABELS[order.index(place)] for place in range(5)], name="other")
    first, second = ph.score(maps, [tiny.classifier(), other], device="cpu")
    assert (first.source, first.target, second.target) == ("source", "tiny", "other")
    logits = by_hand(other, maps, 0.2)
    assert second.m_score == pytest.approx(paper.m_score(logits.double(), [4, 1, 3]))
    assert second.m_score == ph.m_score(maps, other, device="cpu")
    assert [one.target_index for one in second.per_concept] == [4, 1, 3]
    right = [int(row.argmax()) == order[one.index] for row, one in zip(logits, maps, strict=True)]
    assert second.top1_all == pytest.approx(sum(right) / 6)
    assert first.m_score == pytest.approx(paper.m_score(by_hand(tiny.classifier(), maps, 0.2).double(), [0, 3, 4]))
    assert ph.score(maps, other, device="cpu")[0].m_score == second.m_score


def test_m_score_refuses_a_target_without_the_concept():
    strange = tiny.classifier(labels=["a", "b", "c", "d", "e"], name="strange")
    with pytest.raises(ConceptError, match="no class of their own in strange"):
        ph.m_score([tiny.concept_map(0), tiny.concept_map(3)], strange)
