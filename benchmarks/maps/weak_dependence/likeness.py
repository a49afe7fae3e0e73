"""How alike maps are, and what they depend on: the arithmetic of benchmarks.maps.weak_dependence.

A map's place says which network made it ("mobilenet_v2_a", or "depth 0" to "depth 4" of the randomised one), from which
image or samples, and for which class. A method's maps are a dictionary from places to pictures in [0, 1].
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.extras import require
from phosphene.metrics.dependence import shares
from phosphene.metrics.similarity import CELLS, SIMILARITIES

DEPTHS = ("head", "head + last block", "a quarter", "a half", "all")
# Where the verdict is taken.
TARGET = "depth 1"
# At most so many pairs of a kind are compared, spread evenly.
MOST_PAIRS = 20
BLANK = 1e-6  # deviation of a map that shows nothing
DIRECTIONS, BANDS = 12, 4

Place = tuple[str, str, int]
Maps = dict[Place, Tensor]
Figure = tuple[float, float]  # mean and deviation
Pairs = list[tuple[Place, Place]]


def kinds(
    networks: Sequence[str],
    classes: Sequence[int],
    items: Sequence[tuple[str, int]],
    others: Sequence[tuple[str, str]],
) -> dict[str, Pairs]:
    """Pairs of maps, by what differs between the two.

    Args:
        networks: The one that is randomised, another training of it, another architecture.
        classes: Those that every image is explained for.
        items: (image or samples, class) of the maps that are followed.
        others: Pairs of images, or of samples, that differ.
    """
    base, training, architecture = networks
    depths = [f"depth {number}" for number in range(len(DEPTHS))]
    two = [(one, other) for one, other in itertools.combinations(items, 2) if one[1] != other[1]]
    return {
        "nothing": [((base, which, own), (base, again(which), own)) for which, own in items],
        "other image": [((base, one, index), (base, other, index)) for one, other in others for index in classes],
        "other class": [((base, *one), (base, one[0], index)) for one in items for index in classes if index != one[1]],
        "two classes": [((base, *one), (base, *other)) for one, other in two],
        "other training": [((base, *one), (training, *one)) for one in items],
        "other architecture": [((base, *one), (architecture, *one)) for one in items],
        **{depth: [((base, *one), (depth, *one)) for one in items] for depth in depths},
        "two random": [((depths[-1], *one), (depths[-1], *other)) for one, other in two],
    }


def again(which: str) -> str:
    """Name what an image, or samples, becomes when nothing changes but a grey level here and there."""
    return f"{which}-again"


def rank(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two pictures (c, h, w), of their means over channels; 0 where one is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415  (comes with scikit-image)

    x, y = (torch.from_numpy(rankdata(one.float().mean(0).numpy())).flatten() for one in (a, b))
    if min(x.std(), y.std()) < BLANK:
        return 0.0
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {**SIMILARITIES, "rank": rank}


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of two vectors."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def alike(
    maps: Maps, pairs: Pairs, measures: "dict[str, Callable[[Tensor, Tensor], float]] | None" = None
) -> dict[str, Any]:
    """Compare pairs by every measure: [mean, deviation]; pairs with a blank map are counted and left out."""
    there = [pair for pair in pairs if all(place in maps for place in pair)]
    used = there[:: max(1, math.ceil(len(there) / MOST_PAIRS))]
    full = [pair for pair in used if all(float(maps[place].float().std()) > BLANK for place in pair)]
    found: dict[str, Any] = {
        "pairs": len(full),
        "items": len({place[1:] for pair in full for place in pair}),
        "blank": len(used) - len(full),
    }
    for name, measure in (measures or MEASURES).items():
        values = [measure(maps[one].float(), maps[other].float()) for one, other in full]
        if values:
            found[name] = [round(statistics.mean(values), 4), round(statistics.pstdev(values), 4)]
    return found


def kept(nothing: float, floor: float, after: float) -> "float | None":
    """Return how much of a map stays: 0 is as alike as maps of two classes, 1 as if nothing had changed."""
    return (after - floor) / (nothing - floor) if nothing - floor > 0.05 else None


def verdict(nothing: Figure, floor: Figure, after: Figure, count: int, *, read: bool) -> str:
    """Say whether a map forgets what it showed once the network has forgotten.

    Args:
        nothing: Mean and deviation of the likeness of two maps between which nothing that matters changed.
        floor: The same for maps of two classes.
        after: The same for a map before and after.
        count: Maps that were followed: independent, which their pairs are not.
        read: Whether the trained network reads the map as its class: then it shows something, repeatable or not.

    Returns:
        "says nothing": when nothing changes a map is no more like itself than like one of another class, within two
        standard errors, and nobody reads it. "keeps": more alike than two classes by over two standard errors.
        "forgets": not more alike than two classes, or by less than two standard errors and less than a tenth of the
        way to "nothing changed". "undecided": all else.
    """

    def error(one: Figure, other: Figure) -> float:
        return 2 * math.sqrt((one[1] ** 2 + other[1] ** 2) / count)

    if not read and nothing[0] - floor[0] <= error(nothing, floor):
        return "says nothing"
    above = after[0] - floor[0]
    if above > error(after, floor):
        return "keeps"
    return "forgets" if above <= max(0.0, 0.1 * (nothing[0] - floor[0])) else "undecided"


def judge(found: dict[str, dict[str, Any]], *, read: bool) -> dict[str, dict[str, Any]]:
    """Return the verdict by every measure, and how much is kept; "blank" where most maps are."""
    words: dict[str, dict[str, Any]] = {}
    for name in [key for key in found["two classes"] if key not in ("pairs", "items", "blank")]:
        rows = [found[kind].get(name) for kind in ("nothing", "two classes", TARGET)]
        if found[TARGET]["blank"] >= max(found[TARGET]["pairs"], 1) or None in rows:
            words[name] = {"word": "blank", "kept": None}
            continue
        nothing, floor, after = ((row[0], row[1]) for row in rows)
        share = kept(nothing[0], floor[0], after[0])
        words[name] = {
            "word": verdict(nothing, floor, after, found[TARGET]["items"], read=read),
            "kept": None if share is None else round(share, 3),
        }
    return words


def design(
    maps: Maps,
    places: Sequence[Place],
    levels: dict[str, int],
    descriptions: "dict[str, Callable[[Tensor], Tensor]] | None" = None,
) -> dict[str, dict[str, float]]:
    """Take a full design of maps apart into the shares of its factors, by each description.

    Args:
        maps: All of them.
        places: Those of the design, the last factor running fastest.
        levels: Factors, and their number of levels.
        descriptions: From a picture's mean over channels (1, h, w) to a vector.
    """
    found = {}
    for name, describe in (descriptions or DESCRIPTIONS).items():
        rows = torch.stack([describe(maps[place].float().mean(0, keepdim=True)) for place in places])
        parts = shares(rows.view(*levels.values(), -1), [*levels])
        found[name] = {key: round(share, 4) for key, share in parts.items()}
    return found


def _hog(grey: Tensor) -> Tensor:
    """Histograms of oriented gradients of (1, h, w), as :func:`phosphene.metrics.similarity.hog` takes them."""
    cell = max(2, min(grey.shape[1:]) // CELLS)
    keys = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (3, 3), "block_norm": "L2-Hys"}
    return torch.from_numpy(require("skimage.feature", "checks").hog(grey[0].double().numpy(), **keys))


def _spectrum(grey: Tensor) -> Tensor:
    """Log power of (1, h, w) by octave and direction, less the mean of the octave: the grain, in any place."""
    sides = grey.shape[1:]
    picture = grey[0].double()
    window = torch.outer(*(torch.hann_window(side, periodic=False, dtype=torch.float64) for side in sides))
    power = torch.fft.fft2((picture - picture.mean()) * window).abs().square()
    grid = [torch.fft.fftfreq(side, dtype=torch.float64) for side in sides]
    down, across = torch.meshgrid(*grid, indexing="ij")
    octave = -1 - torch.hypot(down, across).clamp_min(1e-9).log2()  # 0 to 1: half to a quarter of a cycle a pixel
    turn = torch.atan2(down, across) % math.pi / math.pi * DIRECTIONS
    inside = (octave >= 0) & (octave < BANDS)
    where = octave[inside].long() * DIRECTIONS + turn[inside].long().clamp(max=DIRECTIONS - 1)
    totals = torch.zeros(BANDS * DIRECTIONS, dtype=torch.float64).index_add(0, where, power[inside])
    counts = where.bincount(minlength=len(totals)).view(BANDS, DIRECTIONS)
    means = totals.view(BANDS, DIRECTIONS) / counts.clamp_min(1)
    filled = counts > 0  # in a small picture the coarsest octave has no frequency in some directions
    log = (means + 1e-12 * power.max() + 1e-30).log().where(filled, 0.0)
    return (log - log.sum(1, keepdim=True) / filled.sum(1, keepdim=True)).where(filled, 0.0).flatten()


def _pixels(grey: Tensor) -> Tensor:
    """Means of (1, h, w) over a grid of 28 x 28."""
    return functional.adaptive_avg_pool2d(grey, 28).flatten()


DESCRIPTIONS: dict[str, Callable[[Tensor], Tensor]] = {"hog": _hog, "spectrum": _spectrum, "pixels": _pixels}
