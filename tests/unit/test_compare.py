"""The comparison of two runs: what changed is first, what only moved has not changed."""

from dataclasses import replace

import pytest
import torch

from phosphene.errors import ConceptError
from phosphene.metrics.compare import ComparedRun, Prediction, compare, in_common, shifted_correlation
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
    maps = [one(0, 0), one(1, 1), one(2, 2)]
    own = {0: 0.9, 1: 0.9, 2: 0.8}
    a = ComparedRun(maps, own, {0: Prediction(0.8), 1: Prediction(0.1, "ship", 1, 1)})
    b = ComparedRun(maps, own, {0: Prediction(0.3), 1: Prediction(0.95)})
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


def test_what_seeds_change_is_no_change_of_predictions():
    p_class = {0: (0.9, 0.5), 1: (0.9, 0.9)}
    maps = [one(index, index, seed, p_class=p_class[index][seed]) for index in p_class for seed in (0, 1)]
    a, b = ComparedRun(maps, {0: 0.7, 1: 0.9}), ComparedRun(maps, {0: 0.4, 1: 0.6})
    found = {change.index_a: change.predictions for change in compare(a, b, same_network=True)}
    assert found == {0: 0.0, 1: pytest.approx(0.3)}


def test_of_one_network_it_is_how_much_surer_it_is():
    maps = [one(0, 0), one(1, 1)]
    changes = compare(ComparedRun(maps, {0: 0.9, 1: 0.5}), ComparedRun(maps, {0: 0.2, 1: 0.5}), same_network=True)
    assert [change.index_a for change in changes] == [0, 1]
    assert changes[0].predictions == pytest.approx(0.7)


def test_images_of_other_sizes_and_channels_are_compared():
    small = concept_map(0, nu=figure(1)[:1, ::2, ::2], label="name 0")
    other = concept_map(1, nu=figure(2)[:1, ::2, ::2], label="name 1")
    changes = compare(ComparedRun([one(0, 1), one(1, 2)]), ComparedRun([small, other]))
    assert all(0 <= change.images < 0.8 for change in changes)


def test_images_that_are_all_the_same_distinguish_nothing():
    maps = [one(index, 5, seed, shift=(0, 0)) for index in range(3) for seed in (0, 1)]
    assert [change.change for change in compare(ComparedRun(maps), ComparedRun(maps))] == [None] * 3


def test_classes_meet_by_label():
    assert in_common({0: "lion, king", 3: "crane"}, {5: "Lion", 6: "zebra"}) == {0: 5}
    assert in_common({0: "crane", 1: "crane"}, {0: "crane", 1: "crane"}) == {0: 0, 1: 1}
    assert in_common({0: "crane", 3: "crane", 5: "lion"}, {1: "crane", 4: "crane", 6: "lion"}) == {0: 1, 3: 4, 5: 6}
    assert in_common({0: "a"}, {10**12: "a"}) == {}  # no list of a million million names
    with pytest.raises(ConceptError, match="crane"):
        in_common({7: "crane"}, {1: "crane", 2: "crane"})
    with pytest.raises(ConceptError, match="no class in common"):
        compare(ComparedRun([one(0, 0)]), ComparedRun([one(1, 1)]))
