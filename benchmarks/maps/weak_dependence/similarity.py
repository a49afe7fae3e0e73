"""How similar maps are, and which share of them depends on what: the arithmetic of this benchmark.

A map's key holds what made it: the network ("mobilenet_v2_a", or "depth 0" to "depth 4" of the randomised one), the
image or samples, and the class. The maps of a method are a dictionary from keys to images in [0, 1].
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.maps.weak_dependence.shares import shares
from phosphene.extras import require
from phosphene.metrics.similarity import CELLS, SIMILARITIES

DEPTHS = ("head", "head + last block", "a quarter", "a half", "all")  # how much of the network is randomised
VERDICT_DEPTH = "depth 1"  # the verdict compares the maps of the intact network with those at this depth
MAX_PAIRS = 20  # per kind; if there are more, evenly spaced ones are compared
BLANK = 1e-6  # standard deviation below which a map shows nothing
DIRECTIONS, OCTAVES = 12, 4  # of the spectrum

Key = tuple[str, str, int]
Maps = dict[Key, Tensor]
Pairs = list[tuple[Key, Key]]
Statistic = tuple[float, float]  # mean and standard deviation


def pair_kinds(
    networks: Sequence[str],
    classes: Sequence[int],
    items: Sequence[tuple[str, int]],
    others: Sequence[tuple[str, str]],
) -> dict[str, Pairs]:
    """Return pairs of maps by what differs between the two.

    Args:
        networks: The one that is randomised, another training of it, another architecture.
        classes: The classes that every image is explained for.
        items: (image or samples, class) of the maps that are compared across networks.
        others: Pairs of different images or samples.
    """
    base, training, architecture = networks
    depths = [f"depth {number}" for number in range(len(DEPTHS))]
    two = [(one, other) for one, other in itertools.combinations(items, 2) if one[1] != other[1]]
    return {
        "unchanged": [((base, source, own), (base, with_noise(source), own)) for source, own in items],
        "other image": [((base, one, index), (base, other, index)) for one, other in others for index in classes],
        "other class": [((base, *one), (base, one[0], index)) for one in items for index in classes if index != one[1]],
        "two classes": [((base, *one), (base, *other)) for one, other in two],
        "other training": [((base, *one), (training, *one)) for one in items],
        "other architecture": [((base, *one), (architecture, *one)) for one in items],
        **{depth: [((base, *one), (depth, *one)) for one in items] for depth in depths},
        "two random": [((depths[-1], *one), (depths[-1], *other)) for one, other in two],
    }


def with_noise(source: str) -> str:
    """Return the key of an image, or of samples, to which invisible noise was added."""
    return f"{source} with noise"


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two images (c, h, w), averaged over channels first; 0 where one is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415  (comes with scikit-image)

    x, y = (torch.from_numpy(rankdata(one.float().mean(0).numpy())).flatten() for one in (a, b))
    return 0.0 if min(x.std(), y.std()) < BLANK else correlation(x, y)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of two tensors of one shape."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


Measures = dict[str, Callable[[Tensor, Tensor], float]]
MEASURES: Measures = {**SIMILARITIES, "rank": rank_correlation}


def compare_pairs(maps: Maps, pairs: Pairs, measures: Measures = MEASURES) -> dict[str, Any]:
    """Return [mean, standard deviation] per measure, and how many pairs were compared or had a blank map."""
    available = [pair for pair in pairs if all(key in maps for key in pair)]
    chosen = available[:: max(1, math.ceil(len(available) / MAX_PAIRS))]
    compared = [pair for pair in chosen if all(float(maps[key].float().std()) > BLANK for key in pair)]
    result: dict[str, Any] = {
        "pairs": len(compared),
        "items": len({key[1:] for pair in compared for key in pair}),
        "blank": len(chosen) - len(compared),
    }
    for name, measure in measures.items():
        values = [measure(maps[one].float(), maps[other].float()) for one, other in compared]
        if values:
            result[name] = [round(statistics.mean(values), 4), round(statistics.pstdev(values), 4)]
    return result


def share_kept(unchanged: float, floor: float, after: float) -> "float | None":
    """Return how much of a map remains: 0 is as similar as maps of two classes, 1 as if nothing had changed."""
    return (after - floor) / (unchanged - floor) if unchanged - floor > 0.05 else None


def verdict(unchanged: Statistic, floor: Statistic, after: Statistic, count: int, *, classified: bool) -> str:
    """Return whether maps lose their content when the network is randomised.

    Args:
        unchanged: Similarity of two maps between which nothing that matters changed.
        floor: Similarity of maps of two classes.
        after: Similarity of a map of the intact network and one of the randomised network.
        count: Maps that were compared; unlike their pairs, they are independent.
        classified: Whether the intact network classifies its maps as their class: then they have content even if they
            are not repeatable.

    Returns:
        "not repeatable": unchanged is within two standard errors of the floor, and the maps are not classified.
        "keeps": more similar than two classes by over two standard errors.
        "forgets": not more similar than two classes, or by less than two standard errors and a tenth of the way to
        "unchanged".
        "undecided": everything else.
    """

    def two_standard_errors(one: Statistic) -> float:
        return 2 * math.sqrt((one[1] ** 2 + floor[1] ** 2) / count)

    if not classified and unchanged[0] - floor[0] <= two_standard_errors(unchanged):
        return "not repeatable"
    excess = after[0] - floor[0]
    if excess > two_standard_errors(after):
        return "keeps"
    return "forgets" if excess <= max(0.0, 0.1 * (unchanged[0] - floor[0])) else "undecided"


def verdicts(similarity: dict[str, dict[str, Any]], *, classified: bool) -> dict[str, dict[str, Any]]:
    """Return the verdict and the share kept per measure; "blank" where most maps are blank.

    Args:
        similarity: What :func:`compare_pairs` returned, per kind of pairs.
        classified: As for :func:`verdict`.
    """
    result: dict[str, dict[str, Any]] = {}
    for name in [key for key in similarity["two classes"] if key not in ("pairs", "items", "blank")]:
        rows = [similarity[kind].get(name) for kind in ("unchanged", "two classes", VERDICT_DEPTH)]
        randomised = similarity[VERDICT_DEPTH]
        if randomised["blank"] >= max(randomised["pairs"], 1) or None in rows:
            result[name] = {"verdict": "blank", "kept": None}
            continue
        unchanged, floor, after = ((row[0], row[1]) for row in rows)
        kept = share_kept(unchanged[0], floor[0], after[0])
        result[name] = {
            "verdict": verdict(unchanged, floor, after, randomised["items"], classified=classified),
            "kept": None if kept is None else round(kept, 3),
        }
    return result


Descriptions = dict[str, Callable[[Tensor], Tensor]]


def factor_shares(
    maps: Maps, keys: Sequence[Key], levels: dict[str, int], descriptions: "Descriptions | None" = None
) -> dict[str, dict[str, float]]:
    """Return the share of each factor in a full design of maps, per description.

    Args:
        maps: All maps.
        keys: Those of the design; the last factor varies fastest.
        levels: The factors' names and numbers of levels.
        descriptions: From an image averaged over channels, (1, h, w), to a vector.
    """
    result = {}
    for name, describe in (descriptions or DESCRIPTIONS).items():
        rows = torch.stack([describe(maps[key].float().mean(0, keepdim=True)) for key in keys])
        parts = shares(rows.view(*levels.values(), -1), [*levels])
        result[name] = {key: round(share, 4) for key, share in parts.items()}
    return result


def _hog(grey: Tensor) -> Tensor:
    """Histograms of oriented gradients of (1, h, w), parameters as in phosphene.metrics.similarity."""
    cell = max(2, min(grey.shape[1:]) // CELLS)
    keys = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (3, 3), "block_norm": "L2-Hys"}
    return torch.from_numpy(require("skimage.feature", "checks").hog(grey[0].double().numpy(), **keys))


def _spectrum(grey: Tensor) -> Tensor:
    """Log power of (1, h, w) per octave and direction, less the octave's mean: texture, wherever it is."""
    image = grey[0].double()
    window = torch.outer(*(torch.hann_window(side, periodic=False, dtype=torch.float64) for side in image.shape))
    power = torch.fft.fft2((image - image.mean()) * window).abs().square()
    grid = [torch.fft.fftfreq(side, dtype=torch.float64) for side in image.shape]
    down, across = torch.meshgrid(*grid, indexing="ij")
    octave = -1 - torch.hypot(down, across).clamp_min(1e-9).log2()  # 0 to 1: half to a quarter of a cycle per pixel
    direction = torch.atan2(down, across) % math.pi / math.pi * DIRECTIONS
    inside = (octave >= 0) & (octave < OCTAVES)
    bins = octave[inside].long() * DIRECTIONS + direction[inside].long().clamp(max=DIRECTIONS - 1)
    totals = torch.zeros(OCTAVES * DIRECTIONS, dtype=torch.float64).index_add(0, bins, power[inside])
    counts = bins.bincount(minlength=len(totals)).view(OCTAVES, DIRECTIONS)
    means = totals.view(OCTAVES, DIRECTIONS) / counts.clamp_min(1)
    filled = counts > 0  # in a small image the coarsest octave has no frequency in some directions
    log = (means + 1e-12 * power.max() + 1e-30).log().where(filled, 0.0)
    return (log - log.sum(1, keepdim=True) / filled.sum(1, keepdim=True)).where(filled, 0.0).flatten()


def _pixels(grey: Tensor) -> Tensor:
    """Means of (1, h, w) over a grid of 28 x 28."""
    return functional.adaptive_avg_pool2d(grey, 28).flatten()


DESCRIPTIONS: Descriptions = {"hog": _hog, "spectrum": _spectrum, "pixels": _pixels}
