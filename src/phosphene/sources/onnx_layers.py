"""Layers in place of those of onnx2torch: ONNX's ``Slice``, and its ``Resize`` where torch's ``interpolate`` gives other values."""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Slice(nn.Module):
    """Takes parts of a tensor; onnx2torch indexes by lists, which torch is about to read otherwise."""

    def forward(self, values: Tensor, starts: Tensor, ends: Tensor, axes: Any = None, steps: Any = None) -> Tensor:
        """Return ``values`` from ``starts`` to ``ends``, each (axes,); ``steps`` may be negative."""
        axes = range(len(starts)) if axes is None else axes.tolist()
        steps = [1] * len(starts) if steps is None else steps.tolist()
        for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
            if step < 0:
                part = slice(-start - 1, -end - 1, -step)
                values = values.flip(axis)
            else:
                part = slice(start, end, step)
            values = values.movedim(axis, 0)[part].movedim(0, axis)
        return values


class Rule(NamedTuple):
    """How an ONNX ``Resize`` finds values between pixels: its attributes, with ONNX's defaults."""

    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0

    @property
    def is_torch(self) -> bool:
        """Whether torch's ``interpolate`` does the same."""
        if self.mode == "nearest":
            return (self.coordinate_transformation_mode, self.nearest_mode) == ("asymmetric", "floor")
        torch_modes = ("half_pixel", "pytorch_half_pixel", "align_corners")
        has_torch_mode = self.coordinate_transformation_mode in torch_modes
        return has_torch_mode and self.cubic_coeff_a == -0.75 and not self.exclude_outside


class Resize(nn.Module):
    """Resizes images (n, c, h, w) by ONNX's definition, as a :class:`Rule` says; there may be other dimensions after the second.

    Raises:
        ValueError: its coordinates depend on a region of the image.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        if rule.coordinate_transformation_mode == "tf_crop_and_resize":
            raise ValueError("Resize with tf_crop_and_resize is not supported")
        self.rule = rule

    def forward(self, pixels: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
        """Return the images resized by ``scales``, or to ``sizes``, one for each dimension of ``pixels``."""
        by_size = sizes is not None and sizes.numel() > 0
        targets = (sizes if by_size else scales).tolist()
        for axis in range(2, pixels.ndim):
            size = pixels.shape[axis]
            value = targets[axis]
            length, scale = (value, value / size) if by_size else (int(size * value), value)
            if scale != 1:
                matrix = weights(self.rule, size, length, scale).to(pixels)
                pixels = torch.tensordot(pixels, matrix, ([axis], [1])).movedim(-1, axis)
        return pixels


@lru_cache(maxsize=64)
def weights(rule: Rule, size: int, length: int, scale: float) -> Tensor:
    """Return the matrix (length, size) that resizes a row of ``size`` values by ``scale`` to ``length``."""
    target = torch.arange(length, dtype=torch.float64)
    mode = rule.coordinate_transformation_mode
    if mode == "asymmetric":
        source = target / scale
    elif mode == "align_corners":
        source = target * (size - 1) / max(length - 1, 1)
    elif mode == "tf_half_pixel_for_nn":
        source = (target + 0.5) / scale
    else:
        source = (target + 0.5) / scale - 0.5 if length > 1 or mode == "half_pixel" else target
    if rule.mode == "nearest":
        rounded = {"floor": source.floor(), "ceil": source.ceil(), "round_prefer_ceil": (source + 0.5).floor()}
        taps = rounded.get(rule.nearest_mode, (source - 0.5).ceil())[:, None]
        shares = torch.ones_like(taps)
    else:
        radius = 1 if rule.mode == "linear" else 2
        taps = source.floor()[:, None] + torch.arange(1 - radius, radius + 1)
        shares = _kernel((source[:, None] - taps).abs(), rule)
    if rule.exclude_outside:
        shares = shares * ((taps >= 0) & (taps < size))
        shares = shares / shares.sum(1, keepdim=True)
    return torch.zeros(length, size, dtype=torch.float64).scatter_add_(1, taps.clamp(0, size - 1).long(), shares)


def _kernel(distance: Tensor, rule: Rule) -> Tensor:
    """Return the share of a pixel at each distance, 0 to 2: a line, or the cubic of Keys (1981).

    The rule has the coefficient of the cubic.
    """
    if rule.mode == "linear":
        return 1 - distance
    a = rule.cubic_coeff_a
    inner = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    outer = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return torch.where(distance <= 1, inner, outer)
