"""Saliency methods that need an image, by Captum, and two controls.

Every map is a grey image (1, h, w) in [0, 1], always rendered in the same way: absolute values (gradients: the largest
over the channels), clipped at their 99th percentile; Grad-CAM: its positive part, resized bilinearly. The signed
variants are the mean over the channels, 0 at mid-grey. A constant map is blank: zeros.
"""

import warnings

import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from torch import Tensor, nn
from torch.nn import functional

from phosphene.engine import Engine

PATH_STEPS = 32  # of integrated gradients, from black to the image; Captum's default is 50
METHODS = (
    "Saliency",
    "Saliency, signed",
    "Integrated Gradients",
    "Integrated Gradients, signed",
    "Grad-CAM",
    "control: edges",
    "control: noise",
)


class _FromPixels(nn.Module):
    """The network with its normalisation: Captum, too, explains pixels in [0, 1]."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.network = engine.classifier.module  # Grad-CAM looks for its layer below this module
        self.logits = engine.classifier.logits

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) of pixels (n, c, h, w)."""
        return self.logits(pixels)


def explain(engine: Engine, image: Tensor, index: int, seed: int) -> dict[str, Tensor]:
    """Explain the logit of a class for an image (c, h, w) in [0, 1]; return (1, h, w) in [0, 1] per method.

    The engine holds the network frozen and in evaluation mode; ``seed`` is for the noise control alone.
    """
    network = _FromPixels(engine)
    layer = engine.classifier.module.get_submodule(engine.spatial_layer())
    batch = image[None].to(engine.device, engine.dtype).contiguous(memory_format=torch.channels_last)
    batch.requires_grad_()
    gradient = Saliency(network).attribute(batch, index, abs=False)
    path = IntegratedGradients(network).attribute(batch, None, index, n_steps=PATH_STEPS, internal_batch_size=8)
    coarse = LayerGradCam(network, layer).attribute(batch, index, relu_attributions=True)
    cam = LayerAttribution.interpolate(coarse, tuple(batch.shape[-2:]), "bilinear")
    noise = torch.rand(1, *image.shape[-2:], generator=torch.Generator().manual_seed(seed))
    return {
        "Saliency": _rendered(gradient.abs().amax(1)),
        "Saliency, signed": _rendered(gradient.mean(1), signed=True),
        "Integrated Gradients": _rendered(path.abs().amax(1)),
        "Integrated Gradients, signed": _rendered(path.mean(1), signed=True),
        "Grad-CAM": _rendered(cam[:, 0]),
        "control: edges": _rendered(edges(image)[None]),
        "control: noise": noise,
    }


def edges(image: Tensor) -> Tensor:
    """Return Sobel's gradient (h, w) of an image's brightness: it depends on no network."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    grey = functional.pad(image.mean(0)[None, None], (1, 1, 1, 1), "replicate")
    gradients = functional.conv2d(grey, torch.stack([across, across.T])[:, None])
    return gradients.square().sum(1).sqrt()[0]


def _rendered(raw: Tensor, *, signed: bool = False) -> Tensor:
    """Scale a raw map (1, h, w) to an image in [0, 1]."""
    raw = raw.detach().float().cpu()
    if not raw.isfinite().all():
        warnings.warn("a map is not finite: it is rendered blank", stacklevel=2)
        return torch.zeros_like(raw)
    if raw.max() - raw.min() <= 1e-6 * raw.abs().max():
        return torch.zeros_like(raw)
    top = raw.abs().flatten().quantile(0.99)
    if top <= 0:  # fewer than 1 % of the pixels differ from 0
        top = raw.abs().max()
    return (0.5 + raw / (2 * top) if signed else raw / top).clamp(0, 1)
