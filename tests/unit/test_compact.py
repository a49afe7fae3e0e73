"""One place instead of several: the pieces of a mask, and patterns that act in a window alone."""

import pytest
import torch

from phosphene.backdoor.compact import ROOM, pieces, window_around
from phosphene.backdoor.families import Sparse
from phosphene.backdoor.search import Effort, Samples, confine, smallest
from phosphene.engine import Engine
from tests import hand


def mask_of(*boxes, side=20):
    mask = torch.zeros(1, side, side)
    for top, left, bottom, right, value in boxes:
        mask[0, top:bottom, left:right] = value
    return mask


def test_pieces_are_the_connected_parts_with_most_opacity_first():
    mask = mask_of((1, 1, 3, 3, 1.0), (10, 10, 14, 15, 0.8), (3, 3, 4, 4, 0.5), (18, 0, 19, 1, 0.05))
    first, second = pieces(mask)  # the corner touches the first box; the faintest cannot be seen
    assert int(first.sum()) == 20
    assert bool(first[12, 12])
    assert int(second.sum()) == 5


def test_a_spiral_is_one_piece():
    mask = torch.zeros(1, 9, 9)
    mask[0, 0, :], mask[0, :, 8], mask[0, 8, :], mask[0, 2:, 0], mask[0, 2, :6] = 1, 1, 1, 1, 1
    assert len(pieces(mask)) == 1


def test_the_window_is_the_box_and_its_margin_cut_at_the_edge():
    (piece,) = pieces(mask_of((0, 10, 2, 14, 1.0)))
    rows, columns = window_around(piece).any(1).nonzero()[:, 0], window_around(piece).any(0).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (0, 1 + ROOM)
    assert (int(columns[0]), int(columns[-1])) == (10 - ROOM, 13 + ROOM)


def test_a_pattern_within_a_window_leaves_the_rest_of_the_picture_alone():
    window = mask_of((5, 5, 9, 9, 1.0))[0] > 0
    family = Sparse()
    pattern = confine(family.start((3, 20, 20), [torch.Generator().manual_seed(0)]), window)
    seed, paint = pattern
    pattern = family.project(confine((seed + 1, paint), window), torch.tensor([1e9]))  # the optimiser moves all of it
    samples = torch.rand(1, 2, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    changed = (family.paste(pattern, samples) != samples).any(2)[0, 0]
    assert bool(changed[5:9, 5:9].all())
    assert not bool(changed[: 5 - 1].any() | changed[9 + 1 :].any())  # the mask is a mean over 3 x 3 pixels


def test_a_search_within_a_window_begins_with_all_of_it():
    with Engine(hand.classifier()) as engine:
        samples = Samples.of(engine, hand.pool().pixels)
        window = torch.zeros(samples.shape[1:], dtype=torch.bool)
        window[2:6, 2:6] = True
        still = Effort(steps=1, batch=2, shrink=(0.0, 0.0))
        found = smallest(engine, Sparse(), samples, torch.tensor([0]), still, window=window)
    assert float(found.size[0]) == pytest.approx(16)
    assert not bool(found.pattern[0][0][~window].any())
