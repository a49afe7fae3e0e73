"""How far the features of nudged samples are from those of samples: a second gradient, which keeps maps natural. Not in the paper.

DeepInversion (Yin et al., CVPR 2020, Eq. 4) keeps images natural by the means and variances that batch norms store of
their training set. Here they are measured on the samples instead, so that a network needs no batch norm.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.engine.gradients import input_gradient, norm, refuse_quantised
from phosphene.engine.memory import at_one_micro_batch
from phosphene.engine.modules import forward_hooks, hookable
from phosphene.errors import RecipeWarning, warn
from phosphene.spatial_activation import as_spatial_activation

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

# Samples that the means and variances are measured on: with 8 per step the noise lies in the step's, not in these.
MOST_SAMPLES = 128
# Of the values of all layers' feature maps, the share that is read. The largest maps would take the most time.
READ_SHARE = 0.25
# Added to all variances, as a share of their mean over a layer: a channel may be the same everywhere.
FLOOR = 1e-3

# Layer -> a tensor (n, 2, c) per call of it: mean and mean square of its c channels, for each of n images.
Features = dict[nn.Module, list[Tensor]]
GradientOf = Callable[[Tensor, Tensor, Classifier], Tensor]  # as input_gradient
GradientContext = AbstractContextManager[GradientOf]


class FeatureStatistics:
    """Means and variances of a network's channels over samples and positions, and the divergence of nudged samples' from them.

    The layers are modules with kernels (convolutions, linear layers) that give feature maps or tokens: of all, those
    that give the fewest values, up to a quarter of the values of all; of equal ones the first.

    Args:
        engine: An open engine.
        samples: uint8 (n, c, h, w); up to 128 are used, evenly spaced.

    Attributes:
        layers: Those that are read; none, with a warning, if the network has none that hooks can read.
        of_samples: Per layer, mean and mean square of its channels over the samples, (2, c).
        mean, variance, floor, channel_weight: (channels of all layers,): the samples' means and variances, what has been
            added to these, and each channel's weight in the divergence.
    """

    def __init__(self, engine: "Engine", samples: Tensor) -> None:
        refuse_quantised(engine.classifier)
        self.size = engine.classifier.input.size
        self._features: Features = defaultdict(list)  # one for all passes: a compiled network adds to what it first saw
        self.layers = at_one_micro_batch(engine, lambda: self._find_layers(engine, samples))
        if not self.layers:
            line = f"{engine.classifier.name} has no layer whose features can be read: its maps are made without statistics."
            warn(line, RecipeWarning)
            return
        rows = at_one_micro_batch(engine, lambda: self._features_of(engine, samples))
        self.of_samples = [torch.cat(rows[layer]).mean(0) for layer in self.layers]
        mean, square = torch.cat(self.of_samples, 1)
        variance = (square - mean.square()).clamp_min(0).split([len(one[0]) for one in self.of_samples])
        self.mean = mean
        self.floor = torch.cat([torch.full_like(one, FLOOR * float(one.mean()) or FLOOR) for one in variance])
        self.variance = torch.cat(variance) + self.floor
        self.channel_weight = torch.cat([torch.full_like(one, 1 / len(one) / len(variance)) for one in variance])

    def _features_of(self, engine: "Engine", samples: Tensor) -> Features:
        """Return the Features of up to 128 samples, uint8 (n, c, h, w)."""
        rows: Features = defaultdict(list)
        with self.collecting_features() as features:
            for chunk in torch.split(samples[:: -(-len(samples) // MOST_SAMPLES)], engine.micro_batch):
                engine.logits(chunk.float() / 255)
                for layer, calls in features.items():  # a network of a fixed batch size gets padding, which is cut off
                    rows[layer] += [one[: len(chunk)] for one in calls]
                features.clear()
        return rows

    @contextmanager
    def collecting_features(self) -> Iterator[Features]:
        """For a ``with`` block: yield an empty dict, to which a forward pass adds the Features of its layers' calls, then clear it."""
        try:
            with forward_hooks(self.layers, self._hook):
                yield self._features
        finally:
            self._features.clear()  # which hold the whole pass's feature maps

    def _hook(self, layer: nn.Module, _: object, output: Any) -> None:
        """Forward hook: add each image's channel means and mean squares, if the output has positions in the image."""
        grid = as_spatial_activation(output, self.size)
        if grid is not None:
            self._features[layer].append(ChannelMoments.apply(grid))  # type: ignore[no-untyped-call]

    def divergence(self, features: Features, owner: Tensor) -> Tensor:
        """Return, per image, (n,), how far the features of all images of its map are from the samples': a mean over channels and layers.

        It is the Kullback-Leibler divergence of normal densities, KL(nudged samples || samples), in nats.

        Args:
            features: Of one forward pass, from :meth:`collecting_features`.
            owner: (n,): the number of the map that each image was nudged by.
        """
        layers = []
        for layer, usual in zip(self.layers, self.of_samples, strict=True):
            calls = [one[: len(owner)] for one in features[layer] if len(one) >= len(owner)]
            layers.append(torch.stack(calls or [usual.expand(len(owner), -1, -1)]).mean(0))
        mean, square = averaged(torch.cat(layers, 2).flatten(1), owner).chunk(2, 1)
        ratio = ((square - mean.square()).clamp_min(0) + self.floor) / self.variance
        doubled: Tensor = ((mean - self.mean).square() / self.variance + ratio - 1 - ratio.log()) @ self.channel_weight
        return doubled / 2

    def _find_layers(self, engine: "Engine", samples: Tensor) -> list[nn.Module]:
        """Return the modules with kernels that, when a few samples are run, give feature maps or tokens of each as a whole."""
        few = samples[: min(2, engine.micro_batch)]  # two, if possible: positions of tokens are often given for one
        values: dict[nn.Module, int] = defaultdict(int)

        def hook(part: nn.Module, _: object, output: Any) -> None:
            grid = as_spatial_activation(output, self.size)
            if grid is not None and len(grid) in (len(few), engine.classifier.batch):  # to which some are padded
                values[part] += grid.numel()

        with forward_hooks([part for part in hookable(engine.classifier.module) if _has_kernel(part)], hook):
            engine.logits(few.float() / 255)
        smallest = sorted(values, key=values.__getitem__)
        most, read = READ_SHARE * sum(values.values()), accumulate(values[part] for part in smallest)
        kept = {part for part, total in zip(smallest, read, strict=True) if total <= most} or set(smallest[:1])
        return [part for part in values if part in kept]


class Prior(NamedTuple):
    """What the engine adds to a loss: the divergence from some FeatureStatistics, and how much of it.

    Attributes:
        statistics: The statistics.
        share: Norm of the divergence's gradient over that of the loss, as a mean over a map's images, when the weight is
            measured. Networks differ by more than ten times in how steep the loss is beside the divergence, so that no
            weight fits all.
        weight: (m,): the divergence's weight by map, from an earlier step; ``None`` measures it, which takes a backward
            pass more.
        views: How many maps in a row are views of one, whose images are taken together.
    """

    statistics: FeatureStatistics
    share: float
    weight: "Tensor | None" = None
    views: int = 1

    @contextmanager
    def differentiating(self, owner: Tensor, used: Tensor) -> Iterator[GradientOf]:
        """For a ``with`` block in which a forward pass is made: yield what differentiates its losses plus the weighted divergence.

        Args:
            owner: (n,): the number of the map, or view, that each image was nudged by.
            used: One number per map, or view, to which the weight at each of its images is added.
        """
        maps = owner // self.views
        with self.statistics.collecting_features() as features:

            def gradient_of(losses: Tensor, images: Tensor, classifier: Classifier) -> Tensor:
                divergence = self.statistics.divergence(features, maps)
                if self.weight is not None:
                    weight = self.weight[maps]
                    gradient = input_gradient(losses + weight * divergence, images, classifier)
                else:
                    slope = torch.zeros_like(images)
                    if divergence.requires_grad:
                        (slope,) = torch.autograd.grad(divergence.sum(), images, retain_graph=True)
                    gradient = input_gradient(losses, images, classifier)
                    norms = torch.stack([norm(gradient).flatten(), norm(slope).flatten()], 1)
                    of_loss, of_divergence = averaged(norms, maps).unbind(1)
                    weight = torch.where(of_divergence > 0, self.share * of_loss / of_divergence, 0)
                    gradient = gradient + weight.view(-1, 1, 1, 1) * slope
                used.index_add_(0, owner, weight)
                return gradient

            yield gradient_of


def averaged(values: Tensor, owner: Tensor) -> Tensor:
    """Return values (n, k) of images, each row replaced by the mean over the images that its map nudged; ``owner`` (n,): their maps."""
    same = (owner[:, None] == owner).to(values)
    return same @ values.nan_to_num(0, 0, 0) / same.sum(1, keepdim=True)  # one map's NaN, times 0, would be another's


def is_measured(step: int) -> bool:
    """Return whether Prior's weight is measured at a step, counted from 1: whenever their number has doubled.

    It settles within ten steps, and then changes more by chance than it drifts.
    """
    return step & (step - 1) == 0


class ChannelMoments(torch.autograd.Function):
    """Each image's mean and mean square of every channel, (n, 2, c) in at least single precision, of feature maps (n, c, h, w).

    Torch's own reductions would do, but their gradients keep and pass over several single-precision copies of the
    feature maps, and made a step more than twice as long.
    """

    @staticmethod
    def forward(ctx: Any, grid: Tensor) -> Tensor:
        """Return the means and mean squares; the copy that is kept is for networks that then change the feature maps in place."""
        ctx.save_for_backward(grid.clone())
        exact = grid.to(torch.promote_types(grid.dtype, torch.float32))
        squares = exact.square()  # with vector_norm it takes three times as long
        return torch.stack([exact.mean((2, 3)), squares.mean((2, 3))], 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the feature maps from that with respect to the means and the mean squares."""
        (grid,) = ctx.saved_tensors
        scaled = (gradient / grid[0, 0].numel()).to(grid.dtype)[..., None, None]
        return torch.addcmul(scaled[:, 0], scaled[:, 1], grid, value=2)


def _has_kernel(part: nn.Module) -> bool:
    """Return whether a module has weights of two or more dimensions of its own, as convolutions and linear layers do and norms do not."""
    weight = getattr(part, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1
