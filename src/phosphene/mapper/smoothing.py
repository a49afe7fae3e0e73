"""A preconditioner: divide a map's frequencies by their height, as natural pictures' spectra fall."""

import torch
from torch import Tensor


class Smoothing:
    """Multiplies the spectrum of maps (m, c, h, w) by ``frequency^-exponent``, scaled to keep white noise's deviation.

    Applied to the gradient and to the step, it makes Algorithm 1 descend in coordinates in which coarse structure is
    cheap and pixel noise dear. Exponent 0 leaves everything as it is.

    Args:
        exponent: p, 0 or more.
        like: A tensor of the maps' size, type and device.
    """

    def __init__(self, exponent: float, like: Tensor) -> None:
        height, width = like.shape[-2:]
        self.gain: Tensor | None = None
        if exponent:
            rows = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)
            columns = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
            frequency = torch.hypot(rows[:, None], columns[None])
            frequency[0, 0] = 1 / max(height, width)  # the mean of a map counts as its lowest frequency
            gain = frequency**-exponent
            self.gain = gain / gain.square().mean().sqrt()

    def __call__(self, maps: Tensor) -> Tensor:
        """Return the smoothed maps."""
        if self.gain is None:
            return maps
        smoothed: Tensor = torch.fft.irfft2(torch.fft.rfft2(maps) * self.gain, s=maps.shape[-2:])
        return smoothed
