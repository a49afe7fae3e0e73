"""Xi of Eq. 2: where the end of the convolutional base responds to the image of a map."""

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import render
from phosphene.engine import Engine


def activation_weights(engine: Engine, nu: Tensor, layer: str, contrast: float) -> Tensor:
    """Return Xi of Eq. 2, (m, 1, h, w) in [0, 1]: where ``layer`` responds to the images of maps (m, c, h, w).

    The output of the module ``layer`` for the image of each map: its positive part, averaged over channels, resized
    bilinearly to the map, and scaled to [0, 1] per map. All zeros if the activation is constant.
    """
    activation = engine.activations(render(nu, contrast), layer).to(nu.dtype).relu().mean(1, keepdim=True)
    xi = functional.interpolate(activation, nu.shape[-2:], mode="bilinear", align_corners=False)
    low, high = xi.amin((1, 2, 3), keepdim=True), xi.amax((1, 2, 3), keepdim=True)
    # Interpolation changes a constant in its last bits, which must not be stretched to [0, 1].
    constant = high - low <= 1e-6 * high.abs()
    return torch.where(constant, 0.0, (xi - low) / (high - low).clamp_min(torch.finfo(xi.dtype).tiny))
