"""Preconditioners of Algorithm 1: by spatial frequency, by how the colours of the samples vary, and by place. Not in the paper."""

import torch
from torch import Tensor

MIN_VARIANCE = 1e-4  # smallest variance of a colour direction, relative to the largest variance in the samples


class Smoothing:
    """Preconditions gradients and steps of Algorithm 1: damps high frequencies and mixes channels.

    With it, Algorithm 1 descends in coordinates in which coarse structure is cheap and pixel noise expensive; ``colours``
    makes changes of colour that are rare in the samples expensive. The standard deviation of white noise is preserved.
    Exponent 0 leaves frequencies as they are.

    Args:
        exponent: p, 0 or more.
        like: A tensor of the maps' size, type and device.
        colours: (c, c), from :func:`colour_matrix`; the channels are multiplied by it as well.
    """

    def __init__(self, exponent: float, like: Tensor, colours: "Tensor | None" = None) -> None:
        height, width = like.shape[-2:]
        self.gain: Tensor | None = None
        self.colours = None if colours is None else colours.to(like)
        if exponent:
            rows = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)
            columns = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
            frequency = torch.hypot(rows[:, None], columns[None])
            frequency[0, 0] = 1 / max(height, width)  # the mean of a map counts as its lowest frequency
            gain = frequency**-exponent
            self.gain = gain / gain.square().mean().sqrt()

    def __call__(self, maps: Tensor) -> Tensor:
        """Return maps (m, c, h, w) with their frequencies scaled and their channels mixed."""
        if self.gain is not None:
            maps = torch.fft.irfft2(torch.fft.rfft2(maps) * self.gain, s=maps.shape[-2:])
        return maps if self.colours is None else torch.einsum("ij,mjhw->mihw", self.colours, maps)


def centre_window(width: float, like: Tensor) -> Tensor:
    """Return weights (h, w) in (0, 1] for steps of maps ``like`` (m, c, h, w): a Gaussian around the middle.

    Its standard deviation is ``width`` half sides, along either side. With it, objects form as a whole in the middle, as
    in photographs; without, many are cut off by the border. With width 0, all weights are 1.
    """
    if not width:
        return torch.ones_like(like[0, 0])
    rows, columns = (
        ((2 * torch.arange(side, dtype=like.dtype, device=like.device) + 1) / side - 1) / width
        for side in like.shape[-2:]
    )
    return torch.exp(-(rows[:, None].square() + columns.square()) / 2)


def colour_matrix(covariance: Tensor, exponent: float) -> "Tensor | None":
    """Return the power ``exponent / 2`` of the channels' covariance (c, c), scaled to keep white noise's std.

    With 1, a map's colours vary as the samples' do: mostly from dark to light, as in photographs (Olah et al., "Feature
    Visualization", 2017, take a fixed matrix of ImageNet's). ``None``, for no change, with 0 or samples of a single colour.
    """
    variances, axes = torch.linalg.eigh(covariance.double())
    if not exponent or float(variances.max()) <= 0:
        return None
    variances = (variances / variances.max()).clamp_min(MIN_VARIANCE)
    power: Tensor = axes @ torch.diag(variances ** (exponent / 2)) @ axes.T
    matrix: Tensor = power / (power.square().sum() / len(power)).sqrt()
    return matrix
