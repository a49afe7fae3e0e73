"""The comparison of two runs: what changed is first, what only moved has not changed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from phosphene.concepts import FIRST_UNIT, Concept, Sides
from phosphene.errors import ConceptError
from phosphene.metrics.compare import Change, ComparedRun, Prediction, compare, in_common, shifted_correlation
from phosphene.workflows.compare import Comparison
from tests.tiny import concept_map

SIDE = 32


def figure(kind, shift=(0, 0), colour=(1.0, 0.3, -0.6)):
    """A blob-like figure of a kind, somewhere in an empty picture."""
    generator = torch.Generator().manual_seed(kind)
    small = torch.nn.functional.interpolate(
        torch.randn((1, 1, 4, 4), generator=generator), size=(14, 14), mode="bicubic"
    )
    nu = torch.zeros(3, SIDE, SIDE)
    down, across = 4 + shift[0], 4 + shift[1]
    nu[:, down : down + 14, across : across + 14] = small[0] * torch.tensor(colour)[:, None, None]
    return nu


def one(index, kind, seed=0, label=None, shift=None, **changes):
    nu = figure(kind, shift if shift is not None else (3 * seed, 5 * seed))
    return replace(concept_map(0, seed), index=index, label=label or f"name {index}", nu=nu, **changes)


def test_shifted_correlation_recognises_a_pattern_wherever_it_lies():
    a, moved, other = (one(0, *rest).pixels for rest in ((1,), (1, 1), (2,)))
    assert shifted_correlation(a, a) == pytest.approx(1, abs=1e-5)
    assert shifted_correlation(a, moved) > 0.9
    assert shifted_correlation(a, other) < 0.6
    assert shifted_correlation(a, torch.full_like(a, 0.5)) == 0.0
    assert shifted_correlation(a, moved) == pytest.approx(shifted_correlation(moved, a), abs=1e-5)


def test_the_changed_class_is_first_and_a_moved_one_has_not_changed():
    a = ComparedRun([one(index, index, seed) for index in range(4) for seed in (0, 1)])
    kinds = {0: 0, 1: 1, 2: 77, 3: 3}
    b = ComparedRun([one(index, kinds[index], seed, shift=(2, 3 * seed)) for index in range(4) for seed in (0, 1)])
    changes = compare(a, b)
    assert changes[0].index_a == 2
    assert changes[0].images > 0.7
    assert all(change.images < 0.15 for change in changes[1:])
    assert all(change.predictions is None and change.change == change.images for change in changes)
    assert changes[0].seeds == (2, 2)


def test_predictions_change_by_what_the_other_network_loses():
    maps = [one(0, 0, p_class=0.9), one(1, 1, p_class=0.9), one(2, 2, p_class=0.8)]
    a = ComparedRun(maps, {0: Prediction((0.8,)), 1: Prediction((0.1,), "ship", 1)})
    b = ComparedRun(maps, {0: Prediction((0.3,)), 1: Prediction((0.95,))})
    found = {change.index_a: change for change in compare(a, b)}
    assert found[0].predictions == pytest.approx(0.6)  # the larger of the two directions
    assert found[1].predictions == pytest.approx(0.8)
    assert found[1].a_by_b.instead == "ship"
    assert found[2].predictions is None
    assert found[0].images == pytest.approx(0, abs=1e-5)
    assert [change.index_a for change in compare(a, b)] == [1, 0, 2]
    assert all(change.change is None for change in found.values())  # one seed each: nobody knows what another changes


def test_images_are_not_compared_where_samples_or_recipe_differ():
    a, b = (ComparedRun([one(index, kind + index, seed) for index in range(3) for seed in (0, 1)]) for kind in (0, 9))
    assert max(change.images for change in compare(a, b)) > 0.5
    assert all(change.images is None and change.change is None for change in compare(a, b, same_method=False))


def maps_with(p_class):
    """A map per class and seed, with these probabilities by class."""
    return [
        one(index, index, seed, shift=(seed, seed), p_class=p)
        for index, several in p_class.items()
        for seed, p in enumerate(several)
    ]


def test_what_seeds_change_is_no_change_of_predictions():
    maps = maps_with({0: (1.0, 1.0), 1: (1.0, 1.0)})
    a = ComparedRun(maps, {0: Prediction((0.9, 0.5)), 1: Prediction((0.2, 0.2))})
    found = {change.index_a: change.predictions for change in compare(a, ComparedRun(maps))}
    error = 2 * (0.04 / 2) ** 0.5  # of class 1, whose own seeds agree: the mean variance of all, .04
    assert found == {0: 0.0, 1: pytest.approx(0.8 - error, abs=1e-4)}


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.0), (8, 0.1)])
def test_what_seeds_change_is_subtracted_from_what_the_other_network_loses(seeds, least):
    """The other network misses half of the maps of class 0: of two seeds that is chance, of eight it is not."""
    maps = maps_with({0: [1.0] * seeds, 1: [1.0] * seeds, 2: [1.0] * seeds})
    half = Prediction((0.0, 1.0) * (seeds // 2), "ship", seeds // 2)
    all_of_them = Prediction((0.0,) * seeds, "ship", seeds)
    a = ComparedRun(maps, {0: half, 1: all_of_them, 2: Prediction((1.0,) * seeds)})
    changes = compare(a, ComparedRun(maps))
    assert [change.index_a for change in changes] == [1, 0, 2]  # class 0 before class 2, which lost nothing
    lost = [change.predictions for change in changes]
    assert least <= lost[1] < 0.5
    assert (lost[1] > 0) == (seeds == 8)
    assert lost[1] < lost[0] < 1
    assert lost[2] == 0


def test_a_share_of_maps_has_an_interval():
    low, high = Prediction((0.9, 0.2), "ship", 1).interval
    assert 0.05 < low < 0.15
    assert 0.85 < high < 0.95


def test_no_class_of_one_network_has_changed():
    a, b = (
        ComparedRun(maps_with({0: (0.5, 0.5), 1: (p, p)}), {1: Prediction((p, p), "ship", 1)}) for p in (0.99, 0.16)
    )
    changes = compare(a, b, same_network=True)
    assert [change.index_a for change in changes] == [0, 1]  # in class order
    assert all(change.change is change.images is change.predictions is None for change in changes)
    assert changes[1].confidences == pytest.approx((0.99, 0.16))


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (1, 3), (1, 1)])
def test_there_is_no_change_where_a_run_has_one_seed(first, second):
    a = ComparedRun([one(index, index, seed) for index in range(3) for seed in range(first)])
    b = ComparedRun([one(index, index + 9, seed) for index in range(3) for seed in range(second)])
    assert all(change.change is None and change.images > 0.3 for change in compare(a, b))


def test_a_class_without_a_change_comes_last():
    a, b = (ComparedRun([one(index, index + k, s) for index in range(4) for s in range(2)]) for k in (0, 9))
    short = ComparedRun([each for each in a.maps if (each.index, each.seed) != (0, 1)])
    changes = compare(short, b)
    assert changes[-1].index_a == 0
    assert [change.change is None for change in changes] == [False, False, False, True]


def test_images_of_other_sizes_and_channels_are_compared():
    small = concept_map(0, nu=figure(1)[:1, ::2, ::2], label="name 0")
    other = concept_map(1, nu=figure(2)[:1, ::2, ::2], label="name 1")
    changes = compare(ComparedRun([one(0, 1), one(1, 2)]), ComparedRun([small, other]))
    assert all(0 <= change.images < 0.8 for change in changes)


def test_images_that_are_all_the_same_distinguish_nothing():
    maps = [one(index, 5, seed, shift=(0, 0)) for index in range(3) for seed in (0, 1)]
    assert [change.change for change in compare(ComparedRun(maps), ComparedRun(maps))] == [None] * 3


def test_unions_meet_by_the_names_of_their_classes():
    """Whatever the order of a network's classes, and whether they are called by the name of a group."""
    first, second = ["ant", "bee", "cat", "dog", "elk", "fox"], ["fox", "dog", "cat", "bee", "ant", "elk"]
    many = Sides(tuple(range(5)), (5,))
    of_first = [
        Concept.of_sides(Sides((2, 3)), first, {"pet": (2, 3)}),
        Concept.of_sides(Sides((0, 1, 2, 3, 4)), first),
        Concept.of_sides(many, first),
    ]
    of_second = [
        Concept.of_sides(Sides((1, 2)), second),
        Concept.of_sides(Sides((0, 1, 2, 3, 4)), second),  # without the elk
        Concept.of_sides(Sides((1, 2, 3, 4, 5), (0,)), second),
    ]
    a, b = (
        ComparedRun([one(each.index, 0, label=each.label, expression=each) for each in concepts])
        for concepts in (of_first, of_second)
    )
    assert {(change.index_a, change.index_b) for change in compare(a, b)} == {
        (of_first[0].index, of_second[0].index),
        (of_first[2].index, of_second[2].index),
    }


def test_classes_meet_by_label():
    assert in_common({0: "lion, king", 3: "crane"}, {5: "Lion", 6: "zebra"}) == {0: 5}
    assert in_common({0: "crane", 1: "crane"}, {0: "crane", 1: "crane"}) == {0: 0, 1: 1}
    assert in_common({0: "crane", 3: "crane", 5: "lion"}, {1: "crane", 4: "crane", 6: "lion"}) == {0: 1, 3: 4, 5: 6}
    assert in_common({0: "a"}, {10**12: "a"}) == {}  # no list of a million million names
    with pytest.raises(ConceptError, match="crane"):
        in_common({7: "crane"}, {1: "crane", 2: "crane"})
    with pytest.raises(ConceptError, match="no class in common"):
        compare(ComparedRun([one(0, 0)]), ComparedRun([one(1, 1)]))


def test_an_unclear_change_is_a_short_cell_and_a_note():
    facts = {"model": {"spec": "x", "input": {"size": [8, 8]}}, "samples": {"sha256": "s"}, "recipe": {"sha256": "r"}}
    sides = tuple({**facts, "model": facts["model"] | {"sha256": sha256}} for sha256 in "ab")
    changes = [
        Change("star", 0, 0, 0.1, images, 0.1, Prediction((0.5, 0.6)), Prediction((0.5, 0.6)), (2, 2), (0.9, 0.9))
        for images in (None, 0.1)
    ]
    note = "Images are unclear where two seeds of a class differ as much as two classes do."
    unclear, clear = (Comparison((Path("a"), Path("b")), sides, (one,), ([], []), ({}, {})) for one in changes)
    assert unclear.cells(changes[0]) == ("10 %", "unclear", "10 %")
    assert note in unclear.notes
    assert note not in clear.notes


def two_trainings(name):
    """The facts of two runs that differ in the weights of their network, whose spec is ``x``."""
    facts = {"samples": {"sha256": "s"}, "recipe": {"sha256": "r"}}
    model = {"spec": "x", "name": name, "input": {"size": [8, 8]}}
    return tuple({**facts, "model": model | {"sha256": sha256}} for sha256 in "ab")


def test_a_class_that_neither_source_has_classified_is_no_order_by_one_direction():
    sides = two_trainings(name="X")
    known = Change("star", 0, 0, 0.1, 0.1, 0.1, Prediction((0.5, 0.6)), Prediction((0.5, 0.6)), (2, 2), (0.9, 0.9))
    neither = replace(known, predictions=None, a_by_b=None, b_by_a=None)
    for other, said in ((neither, "known in part: phosphene"), (replace(known, b_by_a=None), "by one direction only")):
        comparison = Comparison((Path("a"), Path("b")), sides, (known, other), ([], []), ({}, {}))
        assert said in comparison.notes[-1]


def test_networks_made_in_python_are_to_be_scored_in_python():
    sides = two_trainings(name="x")
    unit = Change("unit:stem:3", FIRST_UNIT, FIRST_UNIT, 0.1, 0.1, None, None, None, (2, 2), (0.9, 0.9))
    star = replace(unit, label="star", index_a=0, index_b=0)
    comparison = Comparison((Path("a"), Path("b")), sides, (star, unit), ([], []), ({}, {}))
    assert "phosphene.score(['a', 'b'], [a, b]) in Python" in comparison.notes[-1]
    assert repr(comparison) == "Comparison('a', 'b', 2 concepts)"
