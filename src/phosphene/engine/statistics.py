"""How far the features of nudged samples are from those of samples: a second gradient, which keeps maps natural. Not in the paper.

DeepInversion (Yin et al., CVPR 2020, Eq. 4) keeps images natural by the means and variances that batch norms store of
their training set. Here they are measured on the samples instead, so that a network needs no batch norm.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from phosphene.engine.gradients import norm, refuse_quantised
from phosphene.engine.modules import forward_hooks, hookable
from phosphene.errors import RecipeError
from phosphene.spatial_activation import as_spatial_activation

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

# Samples that the means and variances are measured on: with 8 per step the noise lies in the step's, not in these.
MOST_SAMPLES = 128
# Added to all variances, as a share of their mean over a layer: a channel may be the same everywhere.
FLOOR = 1e-3

# By layer, for each of its calls, mean and mean square of every channel of every image, (n, c) each.
Features = dict[nn.Module, list[tuple[Tensor, Tensor]]]
Slopes = Callable[[Tensor], Tensor]  # see Prior.slopes


class FeatureStatistics:
    """Means and variances of a network's channels over samples and positions, and the divergence of nudged samples' from them.

    The layers are all modules with kernels (convolutions, linear layers) that give feature maps or tokens.

    Args:
        engine: An open engine.
        samples: uint8 (n, c, h, w); up to 128 are used, evenly spaced.

    Raises:
        RecipeError: the network has no such layer that hooks can read.
    """

    def __init__(self, engine: "Engine", samples: Tensor) -> None:
        refuse_quantised(engine.classifier)
        self.size = engine.classifier.input.size
        self.layers = self._find_layers(engine, samples)
        if not self.layers:
            name = engine.classifier.name
            raise RecipeError(f"{name} has no layer whose features can be read: use statistics=0.")
        rows: Features = defaultdict(list)
        with self.reading() as features:
            for chunk in torch.split(samples[:: -(-len(samples) // MOST_SAMPLES)], engine.micro_batch):
                engine.logits(chunk / 255)
                for layer, calls in features.items():  # a network of a fixed batch size gets padding, which is cut off
                    rows[layer] += [(mean[: len(chunk)], square[: len(chunk)]) for mean, square in calls]
                features.clear()
        moments = {layer: [torch.cat(one).mean(0) for one in zip(*calls, strict=True)] for layer, calls in rows.items()}
        self.of_samples = {layer: _normal(mean, square) for layer, (mean, square) in moments.items()}

    @contextmanager
    def reading(self) -> Iterator[Features]:
        """For a ``with`` block: yield a dictionary, Features, to which every forward pass adds those of each layer's calls."""
        features: Features = defaultdict(list)

        def hook(layer: nn.Module, _: object, output: Any) -> None:
            """Forward hook: add each image's channel means and mean squares, if the output has positions in the image."""
            grid = as_spatial_activation(output, self.size)
            if grid is not None:
                features[layer].append(ChannelMoments.apply(grid))  # type: ignore[no-untyped-call]

        with forward_hooks(self.layers, hook):
            yield features

    def divergence(self, features: Features, owner: Tensor) -> Tensor:
        """Return, per image, (n,), how far the features of all images of its map are from the samples': a mean over channels and layers.

        It is the Kullback-Leibler divergence of normal densities, KL(nudged samples || samples), in nats.

        Args:
            features: Of one forward pass, from :meth:`reading`.
            owner: (n,): the number of the map that each image was nudged by.
        """
        same = (owner[:, None] == owner).float()
        same = same / same.sum(1, keepdim=True)  # its rows average over the images of one map
        total = torch.zeros(len(owner), device=owner.device)
        for layer, calls in features.items():
            usual, spread, floor = self.of_samples[layer]
            of_images = (torch.stack([one[: len(owner)] for one in kind]).mean(0) for kind in zip(*calls, strict=True))
            mean, square = (same.to(one) @ one for one in of_images)
            ratio = ((square - mean.square()).clamp_min(0) + floor) / spread
            total = total + ((mean - usual).square() / spread + ratio - 1 - ratio.log()).mean(1) / 2
        return total / max(1, len(features))

    def _find_layers(self, engine: "Engine", samples: Tensor) -> list[nn.Module]:
        """Return the modules with kernels that, when a few samples are run, give feature maps or tokens of each as a whole."""
        few = samples[: min(2, engine.micro_batch)]  # two, if possible: positions of tokens are often given for one
        found: dict[nn.Module, None] = {}

        def hook(part: nn.Module, _: object, output: Any) -> None:
            """Forward hook: note the module if its output has positions in the image and a row per sample."""
            grid = as_spatial_activation(output, self.size)
            if grid is not None and len(grid) in (len(few), engine.classifier.batch):  # to which some are padded
                found[part] = None

        with forward_hooks([part for part in hookable(engine.classifier.module) if _has_kernel(part)], hook):
            engine.logits(few / 255)
        return list(found)


class Prior(NamedTuple):
    """What the engine adds to the gradient of a loss: that of the divergence from some FeatureStatistics, and how much of it.

    Attributes:
        statistics: The statistics.
        share: Norm of the divergence's gradient over that of the loss, at every image. Networks differ by more than ten
            times in how steep the loss is beside the divergence, so that no weight of the divergence itself fits all.
        views: How many maps in a row are views of one, whose images are taken together.
    """

    statistics: FeatureStatistics
    share: float
    views: int = 1

    @contextmanager
    def slopes(self, owner: Tensor) -> Iterator[Slopes]:
        """For a ``with`` block: yield a function that returns the divergence's gradient at the images of the forward pass made within it.

        The gradient, (n, c, h, w), has the norm ``share`` at every image. The pass can be differentiated once more.

        Args:
            owner: (n,): the number of the map, or view, that each image was nudged by.
        """
        with self.statistics.reading() as features:

            def slopes(images: Tensor) -> Tensor:
                """Return the gradient at ``images``; 0 if the network has none, which is refused when the loss is differentiated."""
                divergence = self.statistics.divergence(features, owner // self.views).sum()
                if not divergence.requires_grad:
                    return torch.zeros_like(images)
                (slope,) = torch.autograd.grad(divergence, images, retain_graph=True)
                return self.share * slope / norm(slope).clamp_min(torch.finfo(slope.dtype).tiny)

            yield slopes


class ChannelMoments(torch.autograd.Function):
    """Each image's mean and mean square of every channel, (n, c) each in at least single precision, of feature maps (n, c, h, w).

    Torch's own reductions would do, but their gradients keep and pass over several single-precision copies of the
    feature maps, and made a step more than twice as long.
    """

    @staticmethod
    def forward(ctx: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and mean squares; the copy that is kept is for networks that then change the feature maps in place."""
        ctx.save_for_backward(grid.clone())
        exact = torch.promote_types(grid.dtype, torch.float32)
        norm = torch.linalg.vector_norm(grid, dim=(2, 3), dtype=exact)
        return grid.mean((2, 3), dtype=exact), norm.square() / grid[0, 0].numel()

    @staticmethod
    def backward(ctx: Any, mean: Tensor, square: Tensor) -> Tensor:
        """Return the gradient with respect to the feature maps from those of the means and the mean squares."""
        (grid,) = ctx.saved_tensors
        offset, slope = (one.to(grid.dtype)[:, :, None, None] / grid[0, 0].numel() for one in (mean, 2 * square))
        return torch.addcmul(offset, slope, grid)


def _has_kernel(part: nn.Module) -> bool:
    """Return whether a module has weights of two or more dimensions of its own, as convolutions and linear layers do and norms do not."""
    weight = getattr(part, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1


def _normal(mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return a layer's means (c,), variances (c,) plus a floor, and the floor, from means and mean squares (c,) of its channels."""
    variance = (square - mean.square()).clamp_min(0)
    floor = FLOOR * float(variance.mean()) or FLOOR
    return mean, variance + floor, floor
