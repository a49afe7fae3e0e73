"""The footprint of an emblem in a picture: how well it fits where it fits best.

A backdoored network's map of the target class is said to carry traces of the trigger (Akhtar & Jalwana, arXiv
2303.17836, figure 4). This puts a number to it: template matching by normalised cross-correlation (Lewis 1995, "Fast
normalized cross-correlation"), on the emblem's own mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

higher_is_better = True
# Below this variance a pixel of the mask, what is compared is constant but for rounding.
FLAT = 1e-10
LEAST_SIDE = 3


@dataclass(frozen=True)
class Footprint:
    """Where an emblem fits best.

    Attributes:
        score: Correlation there, in [-1, 1].
        top: First row that the emblem covers, in pixels.
        left: First column.
        scale: Size of the emblem there, as a factor.
        mirrored: Whether it is the mirrored emblem that fits there.
    """

    score: float
    top: int
    left: int
    scale: float = 1.0
    mirrored: bool = False


def footprint(
    picture: Tensor, emblem: Tensor, mask: Tensor, *, scales: Sequence[float] = (1.0,), mirror: bool = False
) -> Footprint:
    """Find the place at which an emblem correlates most with a picture.

    The best of many places is above 0 in any picture: read it against other emblems in the same picture, and against
    the same emblem in pictures of clean networks, at the same scales.

    Args:
        picture: (c, h, w). Of a map, :attr:`phosphene.concept_map.ConceptMap.picture`: the map itself is what is
            *subtracted* from samples, and an emblem in it has the opposite sign.
        emblem: Its colours, (c, a, b).
        mask: How much of each pixel is the emblem's, (1, a, b) in [0, 1]; what is 0 there does not count.
        scales: Sizes at which the emblem is looked for, as factors; those at which it is larger than the picture, or
            smaller than 3 pixels, are left out.
        mirror: Look for the mirrored emblem as well.

    Returns:
        The best fit. Its score is 0 where emblem or picture is constant.

    Raises:
        ValueError: shapes do not fit, nothing of the mask is left, or no scale is left.
    """
    best = None
    for scale in scales:
        size = [round(side * scale) for side in emblem.shape[-2:]]
        if min(size) < LEAST_SIDE or size[0] > picture.shape[-2] or size[1] > picture.shape[-1]:
            continue
        colours, cover = (_resized(part.detach().cpu().double(), size) for part in (emblem, mask))
        for turned in (False, True) if mirror else (False,):
            pair = (colours.flip(-1), cover.flip(-1)) if turned else (colours, cover)
            fits = correlations(picture, *pair)
            place = int(fits.argmax())
            top, left = divmod(place, fits.shape[1])
            found = Footprint(float(fits[top, left]), top, left, scale, turned)
            if best is None or found.score > best.score:
                best = found
    if best is None:
        shapes = f"{tuple(emblem.shape)} into a picture of {tuple(picture.shape)}"
        raise ValueError(f"an emblem of {shapes} fits at none of the scales {list(scales)}.")
    return best


def correlations(picture: Tensor, emblem: Tensor, mask: Tensor) -> Tensor:
    """Correlate an emblem with a picture at every place where it lies inside.

    At each place Pearson's correlation over the mask's pixels, weighted by the mask, and over channels; the mean of
    each channel is taken out of both, so that a flat colour counts for nothing.

    Args:
        picture: (c, h, w).
        emblem: (c, a, b).
        mask: (1, a, b) in [0, 1].

    Returns:
        float64 (h - a + 1, w - b + 1) in [-1, 1], on the CPU: entry (i, j) has the emblem's corner at row i, column j.

    Raises:
        ValueError: shapes do not fit, or the mask is empty.
    """
    _check(picture, emblem, mask)
    image, colours, weight = (part.detach().cpu().double() for part in (picture, emblem, mask))
    total = weight.sum()
    image = image - image.mean((1, 2), keepdim=True)  # the window's variance is a difference of two sums
    colours = weight * (colours - (weight * colours).sum((1, 2), keepdim=True) / total)
    energy = (colours**2 / weight.clamp_min(1e-12)).sum()
    sums, squares = _slide(image, weight), _slide(image**2, weight)
    spread = (squares - sums**2 / total).sum(0).clamp_min(0)
    product = _slide(image, colours).sum(0)
    varies = (spread > FLAT * total) & (energy > FLAT * total)
    return torch.where(varies, product / (spread * energy).clamp_min(1e-300).sqrt(), 0.0).clamp(-1, 1)


def _slide(image: Tensor, kernel: Tensor) -> Tensor:
    """Sums of ``kernel`` (c or 1, a, b) times the picture (c, h, w) at every place, (c, h - a + 1, w - b + 1)."""
    size = image.shape[-2:]
    far = torch.fft.rfft2(image) * torch.fft.rfft2(kernel, s=size).conj()
    whole: Tensor = torch.fft.irfft2(far, s=size)
    return whole[:, : size[0] - kernel.shape[-2] + 1, : size[1] - kernel.shape[-1] + 1]


def _resized(part: Tensor, size: list[int]) -> Tensor:
    if list(part.shape[-2:]) == size:
        return part
    return functional.interpolate(part[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]


def _check(picture: Tensor, emblem: Tensor, mask: Tensor) -> None:
    alike = picture.ndim == emblem.ndim == mask.ndim == 3 and picture.shape[0] == emblem.shape[0] and len(mask) == 1
    if not alike or emblem.shape[1:] != mask.shape[1:] or any(map(int.__gt__, emblem.shape[1:], picture.shape[1:])):
        shapes = ", ".join(str(tuple(part.shape)) for part in (picture, emblem, mask))
        raise ValueError(f"picture, emblem and mask are {shapes}; (c, h, w), (c, a, b), (1, a, b) with a, b inside.")
    if not bool(mask.sum() > 0):
        raise ValueError("the mask is empty: nothing of the emblem is left to compare.")
