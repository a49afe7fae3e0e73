"""How similar two images are: three measures, each of which ignores something else.

All take images (c, h, w) of one shape, values in [0, 1], sides of 8 or more, and return a value in [-1, 1]: 1 for the
same image, about 0 for unrelated noise, and 0 if either is constant. Two maps of one network are never unrelated:
compare a value with that of two different classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from phosphene.errors import ArgumentError, describe
from phosphene.extras import require

LEAST_SIDE = 8
# 16 pixels in an image of 224, as in the code of Adebayo et al.; a smaller image gets as many cells as it can.
CELLS = 14
# Below this deviation an image is constant but for rounding.
MAX_FLAT_STD = 1e-6

Grey = NDArray[np.float64]


def hog(a: Tensor, b: Tensor) -> float:
    """Return the correlation of two images' histograms of oriented gradients, in [-1, 1].

    Do edges run the same way in the same places? As in Adebayo et al. 2018 (arXiv 1810.03292, section 3), by
    scikit-image, on the mean over channels. Ignores colour, contrast and the sign of contrast.

    Raises:
        ExtraError: scikit-image is not installed.
        ArgumentError: an image is no tensor, or they differ in shape or are too small.
    """
    grey_a, grey_b = _greys(a, b)
    histograms = require("skimage.feature", "checks").hog
    cell = max(2, min(grey_a.shape) // CELLS)
    options = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (3, 3), "block_norm": "L2-Hys"}
    if _flat(grey_a) or _flat(grey_b):
        return 0.0
    return _correlation(histograms(grey_a, **options), histograms(grey_b, **options))


def ssim(a: Tensor, b: Tensor) -> float:
    """Return the structural similarity (Wang et al. 2004) of two images (c, h, w), in [-1, 1].

    By scikit-image, with a Gaussian window of deviation 1.5, or 7 x 7 pixels if that does not fit. Negative for
    inverted contrast.

    Raises:
        ExtraError: scikit-image is not installed.
        ArgumentError: an image is no tensor, or they differ in shape or are too small.
    """
    grey_a, grey_b = _greys(a, b)
    compare = require("skimage.metrics", "checks").structural_similarity
    if _flat(grey_a) or _flat(grey_b):
        return 0.0
    gaussian = min(grey_a.shape) >= 11
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if gaussian else {"win_size": 7}
    pair = [one.detach().cpu().double().numpy() for one in (a, b)]
    return float(np.clip(compare(*pair, channel_axis=0, data_range=1.0, **options), -1, 1))


def spectrum(a: Tensor, b: Tensor) -> float:
    """Return the correlation of two images' log power spectra, in [-1, 1], wherever patterns lie.

    On the mean over channels, under a Hann window; the mean over all directions is taken out at each frequency, else
    any two natural images would correlate. Ignores where a pattern lies, contrast and the sign of contrast.

    Raises:
        ArgumentError: an image is no tensor, or they differ in shape or are too small.
    """
    grey_a, grey_b = _greys(a, b)
    if _flat(grey_a) or _flat(grey_b):
        return 0.0
    return _correlation(_directions(grey_a), _directions(grey_b))


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], float]] = {"hog": hog, "ssim": ssim, "spectrum": spectrum}


def _directions(grey: Grey) -> Grey:
    """Return an image's log power in the upper half plane less its mean over directions, smoothed, as (k,)."""
    image = torch.from_numpy(grey)
    height, width = image.shape
    window = torch.outer(*(torch.hann_window(side, periodic=False, dtype=image.dtype) for side in image.shape))
    power = torch.fft.fft2((image - image.mean()) * window).abs().square()
    log = (power + 1e-12 * power.max()).log()
    x_frequency, y_frequency = torch.fft.fftfreq(width, dtype=log.dtype), torch.fft.fftfreq(height, dtype=log.dtype)
    ring = (torch.hypot(*torch.meshgrid(y_frequency, x_frequency, indexing="ij")) * min(height, width)).round().long()
    totals = torch.zeros(int(ring.max()) + 1, dtype=log.dtype)
    means = totals.index_add(0, ring.flatten(), log.flatten()) / ring.flatten().bincount()
    residual = log - means[ring]
    # The power of a single frequency is as noisy as it is large; its neighbours measure the same.
    residual = functional.avg_pool2d(functional.pad(residual[None, None], (1, 1, 1, 1), mode="circular"), 3, 1)[0, 0]
    # The other half mirrors this one; the first value is the mean.
    half_plane: Grey = residual[: height // 2 + 1].flatten()[1:].numpy()
    return half_plane


def _greys(a: Tensor, b: Tensor) -> tuple[Grey, Grey]:
    """Return the mean over channels of two images (c, h, w), float64 (h, w) each.

    Raises:
        ArgumentError: an image is no tensor, or shapes differ or are too small.
    """
    for one in (a, b):
        if not isinstance(one, Tensor):
            raise ArgumentError(
                f"an image is {describe(one)}; it must be a tensor (c, h, w), such as the pixels of a map."
            )
    if a.shape != b.shape or a.ndim != 3 or min(a.shape[1:]) < LEAST_SIDE:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ArgumentError(f"images are {shapes}; two of one shape (c, h, w) of at least 8 x 8 are compared.")
    return tuple(one.detach().cpu().double().mean(0).numpy() for one in (a, b))  # type: ignore[return-value]


def _flat(grey: Grey) -> bool:
    """Return whether a grey image (h, w) is constant but for rounding; then it is similar to none."""
    return float(grey.std()) < MAX_FLAT_STD


def _correlation(x: Grey, y: Grey) -> float:
    """Return Pearson's correlation of two arrays of one length, in [-1, 1]; 0 if either does not vary."""
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 1e-12 else 0.0
