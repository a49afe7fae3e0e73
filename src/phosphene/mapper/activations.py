"""Xi of Eq. 2: where the end of the convolutional base answers to the map's picture."""

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import render
from phosphene.engine import Engine


def activation_weights(engine: Engine, nu: Tensor, layer: str, contrast: float) -> Tensor:
    """Return Xi, (m, 1, h, w) in [0, 1], of maps (m, c, h, w).

    The mean over channels of the positive part of what the module ``layer`` answers to the rendered map, resized
    bilinearly, scaled to [0, 1] a map; zeros where the activation is constant.
    """
    answer = engine.activations(render(nu, contrast), layer).relu().mean(1, keepdim=True)
    xi = functional.interpolate(answer, nu.shape[-2:], mode="bilinear", align_corners=False)
    low, high = xi.amin((1, 2, 3), keepdim=True), xi.amax((1, 2, 3), keepdim=True)
    # An interpolated constant wavers in its last bits, which must not be stretched to [0, 1].
    constant = high - low <= 1e-6 * high.abs()
    return torch.where(constant, 0.0, (xi - low) / (high - low).clamp_min(torch.finfo(xi.dtype).tiny))
