"""How far a network looks: the radius of its effective receptive field."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phosphene.engine.gradients import input_gradient
from phosphene.engine.modules import forward_hooks
from phosphene.spatial_activation import as_spatial_activation

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

# Samples whose gradients are averaged: with 16 others, the radius of an ImageNet network changes by up to 0.03.
MOST_SAMPLES = 16


def receptive_radius(engine: "Engine", samples: Tensor) -> float:
    """Return how far the last spatial layer's middle cell looks (RMS), as a share of the image's side; infinity if it does not respond.

    It is the effective receptive field of Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional
    Neural Networks" (NIPS 2016): the squared gradient of the positive activations in the middle of the layer, averaged over
    samples and taken as a distribution over pixels. The radius is its root-mean-square distance from its centre, where
    height and width both count as 1. It would be 0.41 if all pixels mattered alike.

    Args:
        engine: An open engine.
        samples: uint8 (n, c, h, w).
    """
    module, size = engine.classifier.module.get_submodule(engine.spatial_layer()), engine.classifier.input.size
    middles: list[Tensor] = []
    chosen = samples[torch.linspace(0, len(samples) - 1, min(MOST_SAMPLES, len(samples))).long()]

    def hook(_: object, __: object, output: Any) -> None:
        """Forward hook: sum each image's positive values in the middle cell at once; the next module may change them in place."""
        grid = as_spatial_activation(output, size)
        if grid is not None:
            middles.append(grid[:, :, grid.shape[2] // 2, grid.shape[3] // 2].relu().sum(1))

    energy = torch.zeros(size, dtype=torch.float64)
    with forward_hooks([module], hook), torch.enable_grad():
        for chunk in torch.split(chosen, engine.micro_batch):
            images = (chunk.to(engine.device, engine.dtype) / 255).requires_grad_()
            engine.classifier.logits(images)
            gradient = input_gradient(middles[-1], images, engine.classifier)  # the last call of the module counts
            energy += gradient.double().square().sum((0, 1)).cpu()
            middles.clear()
    total = energy.sum()
    if not 0 < float(total) < float("inf"):
        return float("inf")
    spread = 0.0
    for along, length in ((energy.sum(1), size[0]), (energy.sum(0), size[1])):
        share, place = along / total, torch.arange(length, dtype=torch.float64) / length
        spread += float((share * (place - (share * place).sum()).square()).sum())
    return float(spread**0.5)
