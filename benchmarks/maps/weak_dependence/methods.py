"""Maps that need an image, by Captum, and two controls; for benchmarks.maps.weak_dependence alone.

Every map is a grey picture (1, h, w) in [0, 1], shown as usual and always the same way: absolute values (gradients: the
largest over the channels), cut at their 99th percentile; Grad-CAM: its positive part, resized bilinearly. The signed
variants are the mean over the channels, 0 at mid-grey. A map that is the same everywhere is blank: zeros.
"""

import warnings

import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from torch import Tensor, nn
from torch.nn import functional

from phosphene.engine import Engine

# Steps from the black picture to the image, for integrated gradients; Captum's default is 50.
PATH = 32
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
    """The network with its normalisation: what Captum explains takes pixels in [0, 1], as all else here."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.network = engine.classifier.module  # Grad-CAM looks for its layer below this module
        self.logits = engine.classifier.logits

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes) of pixels (n, c, h, w)."""
        return self.logits(pixels)


def explain(engine: Engine, images: Tensor, classes: list[int], seed: int) -> dict[str, Tensor]:
    """Explain each image (n, c, h, w) in [0, 1] for its class, by every method: (n, 1, h, w) in [0, 1].

    The logit is explained. The engine holds the network in evaluation mode, frozen; ``seed`` is for the noise alone.
    """
    wrapped = _FromPixels(engine)
    layer = engine.classifier.module.get_submodule(engine.spatial_layer())
    found: dict[str, list[Tensor]] = {name: [] for name in METHODS}
    generator = torch.Generator().manual_seed(seed)
    for image, index in zip(images, classes, strict=True):
        one = image[None].to(engine.device, engine.dtype).contiguous(memory_format=torch.channels_last)
        one.requires_grad_()
        gradient = Saliency(wrapped).attribute(one, index, abs=False)
        path = IntegratedGradients(wrapped).attribute(one, None, index, n_steps=PATH, internal_batch_size=8)
        coarse = LayerGradCam(wrapped, layer).attribute(one, index, relu_attributions=True)
        cam = LayerAttribution.interpolate(coarse, tuple(one.shape[-2:]), "bilinear")
        for name, raw in (("Saliency", gradient), ("Integrated Gradients", path)):
            found[name].append(_shown(raw.abs().amax(1)))
            found[f"{name}, signed"].append(_shown(raw.mean(1), signed=True))
        found["Grad-CAM"].append(_shown(cam[:, 0]))
        found["control: edges"].append(_shown(edges(image)[None]))
        found["control: noise"].append(torch.rand(1, *image.shape[-2:], generator=generator))
    return {name: torch.stack(maps) for name, maps in found.items()}


def edges(image: Tensor) -> Tensor:
    """Sobel's gradient of an image's brightness, (h, w): it knows no network."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    grey = functional.pad(image.mean(0)[None, None], (1, 1, 1, 1), "replicate")
    slopes = functional.conv2d(grey, torch.stack([across, across.T])[:, None])
    return slopes.square().sum(1).sqrt()[0]


def _shown(raw: Tensor, *, signed: bool = False) -> Tensor:
    """Scale a raw map (1, h, w) to a picture in [0, 1]."""
    raw = raw.detach().float().cpu()
    if not raw.isfinite().all():
        warnings.warn("a map is not finite: shown blank", stacklevel=2)
        return torch.zeros_like(raw)
    if raw.max() - raw.min() <= 1e-6 * raw.abs().max():
        return torch.zeros_like(raw)
    top = raw.abs().flatten().quantile(0.99)
    if top <= 0:  # fewer than 1 % of the pixels are not 0
        top = raw.abs().max()
    return (0.5 + raw / (2 * top) if signed else raw / top).clamp(0, 1)
