"""What a network's first batch normalisation remembers of its training samples, against what it receives now.

It stores mean and variance of each of its channels over the training set. Where it follows a convolution, both depend
on the first two moments of the samples alone, so that noise with the moments of natural images will do.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from phosphene.engine import Engine
from phosphene.engine.memory import at_one_micro_batch
from phosphene.engine.modules import forward_hooks, hookable
from phosphene.samples.synthetic import spectral_noise

# Mean, and principal axes of the colour (one per column) with their variances, of ImageNet's pixels in [0, 1]:
# Krizhevsky, Sutskever & Hinton 2012, section 4.1.
COLOUR_MEAN = (0.485, 0.456, 0.406)
COLOUR_AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
COLOUR_VARIANCES = (0.2175, 0.0188, 0.0045)
# Amplitude falls as frequency^-1.2, and a fifth of the variance lies between images: chosen on the CIFAR networks.
SPECTRUM_SLOPE, VARIANCE_BETWEEN = 1.2, 0.2
SEED = 1987
# Names under which the batch normalisations of all libraries, frozen ones included, store their statistics.
RUNNING_STATISTICS = ("running_mean", "running_var")


@lru_cache(maxsize=1)  # networks that are examined one after the other mostly have one size
def natural_noise(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Return noise with the colours and spectrum of natural images, float32 (count, c, h, w) in [0, 1].

    It is always the same, and cached: do not change it.
    """
    rng = np.random.default_rng(SEED)
    waves = spectral_noise(rng, np.full(count, SPECTRUM_SLOPE), shape)
    waves /= waves.std((2, 3), keepdims=True) + 1e-12
    waves = math.sqrt(1 - VARIANCE_BETWEEN) * waves + math.sqrt(VARIANCE_BETWEEN) * rng.standard_normal(
        (count, shape[0], 1, 1)
    )
    if shape[0] == 3:
        axes = np.array(COLOUR_AXES) * np.sqrt(COLOUR_VARIANCES)
        pixels = np.einsum("ck,nkhw->nchw", axes, waves) + np.array(COLOUR_MEAN)[None, :, None, None]
    else:
        pixels = 0.45 + math.sqrt(sum(COLOUR_VARIANCES) / 3) * waves
    return torch.from_numpy(pixels.clip(0, 1).astype(np.float32))


def first_norm(engine: Engine, samples: Tensor) -> "tuple[nn.Module, Tensor] | None":
    """Run samples up to the first batch normalisation; return it with the moments of its input.

    Returns:
        That module, and the mean and mean square of its input per sample and channel, float64 (2, n, channels), on the
        CPU; ``None`` if the network calls no batch normalisation of images, or an untrained one.
    """
    _ = engine.classifier.num_classes  # asked for once, by a whole forward pass, which must not be stopped
    norms = [
        module
        for module in hookable(engine.classifier.module)
        if all(isinstance(getattr(module, name, None), Tensor) for name in RUNNING_STATISTICS)
    ]
    reached: list[nn.Module] = []
    moments: list[Tensor] = []

    def run() -> None:
        moments.clear()
        # One sample shows whether there is such a module, before many run through the whole network.
        for chunk in (samples[:1], *torch.split(samples[1:], engine.micro_batch)):
            try:
                if norms and len(chunk):
                    engine.logits(chunk)
                break
            except _Reached:
                continue

    def stop(module: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        """Forward hook: store mean and mean square of 4-d inputs, and end the forward pass by an exception."""
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
            values = inputs[0].detach().double()
            moments.append(torch.stack([values.mean((2, 3)), values.square().mean((2, 3))]).cpu())
            reached.append(module)
            raise _Reached

    with forward_hooks(norms, stop):
        at_one_micro_batch(engine, run)
    if not reached or _untrained(reached[0]):
        return None
    return reached[0], torch.cat(moments, dim=1)


def divergence(norm: nn.Module, moments: Tensor) -> Tensor:
    """Return the divergence of a batch norm's input from its running statistics.

    Both are taken as normal densities, one per channel.

    Args:
        norm: The module.
        moments: Mean and mean square of its input, (..., 2, channels).

    Returns:
        In nats per channel, float64 (...).
    """
    mean, square = moments[..., 0, :], moments[..., 1, :]
    running_mean, running_variance = (getattr(norm, name).double().cpu() for name in RUNNING_STATISTICS)
    input_density = Normal(mean, (square - mean.square()).clamp_min(1e-12).sqrt(), validate_args=False)
    training_density = Normal(running_mean, (running_variance + 1e-12).sqrt(), validate_args=False)
    return kl_divergence(input_density, training_density).mean(-1)


class _Reached(Exception):  # noqa: N818  (no error: the rest of the network is not needed)
    """Raised by a hook to stop the forward pass at the first batch normalisation, and caught in this file."""


def _untrained(norm: nn.Module) -> bool:
    """Return whether a batch normalisation's running means are all 0 and variances all 1, as before any training."""
    return bool((norm.running_mean == 0).all() and (norm.running_var == 1).all())  # type: ignore[union-attr]
