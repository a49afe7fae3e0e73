"""What a network's first batch normalisation remembers of its training pictures, against what it is shown now.

It keeps mean and variance of each of its channels over the training set. Where it follows a convolution, both depend
on nothing but the first two moments of the pictures, so that noise with the moments of natural pictures will do.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.modules import hooked
from phosphene.samples.synthetic import spectral_noise

# Mean, and principal axes of the colour (a column each) with their variances, of ImageNet's pixels in [0, 1]:
# Krizhevsky, Sutskever & Hinton 2012, section 4.1.
COLOUR_MEAN = (0.485, 0.456, 0.406)
COLOUR_AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
COLOUR_VARIANCES = (0.2175, 0.0188, 0.0045)
# Amplitude falls as frequency^-1.2, and a fifth of the variance lies between pictures: chosen on the CIFAR networks.
SLOPE, BETWEEN = 1.2, 0.2
SEED = 1987


def natural_noise(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Noise with the colours and the spectrum of natural pictures: float32 (count, c, h, w) in [0, 1]."""
    rng = np.random.default_rng(SEED)
    waves = spectral_noise(rng, np.full(count, SLOPE), shape)
    waves /= waves.std((2, 3), keepdims=True) + 1e-12
    waves = math.sqrt(1 - BETWEEN) * waves + math.sqrt(BETWEEN) * rng.standard_normal((count, shape[0], 1, 1))
    if shape[0] == 3:
        axes = np.array(COLOUR_AXES) * np.sqrt(COLOUR_VARIANCES)
        pixels = np.einsum("ck,nkhw->nchw", axes, waves) + np.array(COLOUR_MEAN)[None, :, None, None]
    else:
        pixels = 0.45 + math.sqrt(sum(COLOUR_VARIANCES) / 3) * waves
    return torch.from_numpy(pixels.clip(0, 1).astype(np.float32))


class NormStatistics:
    """The first batch normalisation that a network calls on its way, if it has been trained.

    Attributes:
        module: It, or ``None``.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.module = _first(engine)

    def moments(self, pictures: Tensor) -> Tensor:
        """Mean and mean square of its input, a picture and a channel: (2, n, channels), on the CPU.

        The network runs no further than there.
        """
        assert self.module is not None  # noqa: S101  (for the type checker)
        kept: list[Tensor] = []

        def look(_: nn.Module, inputs: tuple[Tensor, ...], __: object) -> None:
            seen = inputs[0].detach().double()
            kept.append(torch.stack([seen.mean((2, 3)), seen.square().mean((2, 3))]).cpu())
            raise _Enough

        with hooked([self.module], look):
            for chunk in torch.split(pictures, self.engine.micro_batch):
                try:
                    self.engine.logits(chunk)
                except _Enough:
                    continue
        return torch.cat(kept, dim=1)

    def divergence(self, moments: Tensor) -> Tensor:
        """Kullback-Leibler divergence of what it sees from what it remembers, in nats a channel, as normal densities.

        Args:
            moments: (..., 2, channels): mean and mean square.
        """
        assert self.module is not None  # noqa: S101
        mean, square = moments[..., 0, :], moments[..., 1, :]
        then = self.module.running_var.double().cpu() + 1e-12  # type: ignore[operator]
        shift = mean - self.module.running_mean.double().cpu()  # type: ignore[operator]
        ratio = (square - mean.square()).clamp_min(1e-12) / then
        return (0.5 * (ratio + shift.square() / then - 1 - ratio.log())).mean(-1)


class _Enough(Exception):  # noqa: N818  (no error: the rest of the network is not needed)
    """Stops a forward pass."""


def _first(engine: Engine) -> "nn.Module | None":
    classifier: Classifier = engine.classifier
    # batch norms of all libraries, frozen ones included, keep their statistics under these names
    norms = [part for part in classifier.module.modules() if _remembers(part)]
    called: list[nn.Module] = []

    def note(part: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
            called.append(part)

    with hooked(norms, note):
        engine.logits(torch.full((1, *classifier.input.shape), 0.5))
    if not called or _untrained(called[0]):
        return None
    return called[0]


def _remembers(part: nn.Module) -> bool:
    return all(isinstance(getattr(part, name, None), Tensor) for name in ("running_mean", "running_var"))


def _untrained(part: nn.Module) -> bool:
    mean, variance = part.running_mean, part.running_var
    return bool((mean == 0).all() and (variance == 1).all())  # type: ignore[union-attr]
