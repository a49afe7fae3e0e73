"""The layers of a network whose units can be read, and a classifier that returns activations of units beside its logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.engine.memory import at_one_micro_batch
from phosphene.engine.modules import forward_hooks, hookable
from phosphene.engine.targets import target_probabilities
from phosphene.spatial_activation import as_spatial_activation
from phosphene.units import Unit

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

# Samples on which the activations of units are measured: the 99th percentile of 512 is told from their largest.
MOST_SAMPLES = 512
# A unit counts as active above this share of the samples' activations.
ACTIVE = 0.99


@dataclass(frozen=True)
class Layer:
    """A layer of a network whose units can be named.

    Attributes:
        name: Name of the module in the network, ``features.18.0``.
        kind: Class of the module, ``Conv2d``.
        shape: Shape of its output for one image, without the batch.
        units: Channels of its feature maps or tokens, or values of a flat output.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    units: int


def mean_activations(output: Any, size: tuple[int, int]) -> "Tensor | None":
    """Return a module's output averaged over positions, (n, units); ``None`` for outputs that are no activations of units.

    Args:
        output: Feature maps or tokens (:func:`phosphene.spatial_activation.as_spatial_activation`), or a flat output
            (n, units), with further dimensions of length 1 or without.
        size: Height and width of the network's input.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2:
        return None
    # In at least single precision: half precision loses what tells samples apart.
    exact = output.to(torch.promote_types(output.dtype, torch.float32))
    grid = as_spatial_activation(exact, size)
    if grid is not None:
        return grid.mean((2, 3))
    return exact.flatten(1) if output.shape[2:].numel() == 1 else None


def list_layers(engine: "Engine") -> list[Layer]:
    """Run a grey image; return the layers whose units can be named, in the order in which each is called for the last time."""
    space = engine.classifier.input
    names = {part: name for part, name in hookable(engine.classifier.module).items() if name}  # not the network itself
    found: dict[str, Layer] = {}

    def hook(part: nn.Module, _: object, output: Any) -> None:
        mean = mean_activations(output, space.size)
        if mean is not None and mean.requires_grad and len(mean) in (1, batch):
            found.pop(names[part], None)  # of a module that is called again, the last call counts
            found[names[part]] = Layer(names[part], type(part).__name__, tuple(output.shape[1:]), mean.shape[1])

    batch = engine.classifier.batch  # a network of a fixed batch size gets padding
    grey = torch.full((1, *space.shape), 0.5, dtype=engine.dtype, device=engine.device, requires_grad=True)
    with forward_hooks(list(names), hook), torch.enable_grad():
        engine.classifier.logits(grey)
    return list(found.values())


def layer_outputs(
    engine: "Engine", images: Tensor, layer: str, convert: Callable[[Any, tuple[int, int]], "Tensor | None"]
) -> Tensor:
    """Run images (n, c, h, w), in [0, 1] or uint8, in micro-batches; return ``convert(output, input size)`` of the module, joined along n.

    The output of the layer "" is the logits.
    """
    size = engine.classifier.input.size
    outputs: list[Tensor] = []  # a module may be called several times in one forward pass: the last usable call counts

    def add(output: Any) -> None:
        """Append ``convert(output)`` to ``outputs``, unless it is ``None``: ResNet's ReLU is called with positions and without."""
        if (converted := convert(output, size)) is not None:
            outputs.append(converted)

    def run() -> Tensor:
        parts = []
        for chunk in torch.split(images, engine.micro_batch):
            outputs.clear()
            logits = engine.logits(chunk.float() / 255 if chunk.dtype == torch.uint8 else chunk)
            if not layer:
                add(logits)
            parts.append(outputs[-1][: len(chunk)])  # a network of a fixed batch size gets padding, which is cut off
        return torch.cat(parts)

    modules = [engine.classifier.module.get_submodule(layer)] if layer else []
    with forward_hooks(modules, lambda _, __, output: add(output)):
        return at_one_micro_batch(engine, run)


class UnitClassifier(Classifier):
    """An engine's classifier with a logit more per unit: (activation - 99th percentile) / std, both over samples.

    The activation a of a unit is averaged over positions, and its column is (a - t) / s, with t the 99th percentile and
    s the standard deviation over samples. As of the outputs of a multi-label network, its sigmoid is a probability and
    0 the limit, so that :func:`phosphene.engine.targets.targets_of` has it told from "none of these", whose logit is 0:
    its log-odds loss is the bare (t - a) / s.

    Args:
        engine: An open engine, whose classifier it is.
        units: Units of its network, a column each.
        samples: uint8 (n, c, h, w); the first 512 are used.
        alone: Whether no gradient of the logits is needed, so that it is not computed for what follows the layers.
    """

    def __init__(self, engine: "Engine", units: Sequence[Unit], samples: Tensor, *, alone: bool = False) -> None:
        activations = {unit.layer: engine.activations_of_samples(samples, unit.layer) for unit in units}
        vars(self).update(vars(engine.classifier))  # the same in all but its logits; by now it knows its kind of output
        self.alone = alone
        self.layers = [unit.layer for unit in units]
        self.weights = [unit.weights(activations[unit.layer].shape[1]).to(activations[unit.layer]) for unit in units]
        columns = [(activations[unit.layer] * own).sum(1) for unit, own in zip(units, self.weights, strict=True)]
        spreads = [float(one.std(correction=0)) or 1.0 for one in columns]  # 1 if the unit is the same for all samples
        # A sample at the limit is not above it: with many samples at 0, the percentile may be 0 as well.
        limits = [float(one.quantile(ACTIVE)) + 1e-6 * spread for one, spread in zip(columns, spreads, strict=True)]
        self.scales = list(zip(limits, spreads, strict=True))
        self.of_samples = torch.stack([(one - t) / s for one, (t, s) in zip(columns, self.scales, strict=True)])

    def logits(self, pixels: Tensor) -> Tensor:
        """Return logits and per unit (activation - limit) / std, (n, classes + units); if ``self.alone``, only units have gradients."""
        names = {self.module.get_submodule(layer): layer for layer in self.layers if layer}
        read: dict[str, Any] = {}

        def hook(part: nn.Module, _: object, output: object) -> None:
            """Average the output at once, because the next module may change it in place."""
            if (mean := mean_activations(output, self.input.size)) is not None:
                read[names[part]] = mean

        with forward_hooks(list(names), hook):
            logits = super().logits(pixels)
        read[""] = mean_activations(logits, self.input.size)
        logits = logits.detach() if self.alone else logits
        # Not a matrix product, which mixed precision would round.
        activations = [
            (read[layer][: len(logits)] * own).sum(1) for layer, own in zip(self.layers, self.weights, strict=True)
        ]
        columns = [(one - t) / s for one, (t, s) in zip(activations, self.scales, strict=True)]
        return torch.cat([logits.to(columns[0]), torch.stack(columns, 1)], 1)

    def confidences(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the probability of each row's target, (n,) in [0, 1]; of a unit, the share of samples that activate it less.

        The samples are those whose activations the classifier was made with.

        Args:
            logits: (n, classes + units).
            targets: int8 (n, classes + units + 1): :func:`phosphene.engine.targets.targets_of`.
        """
        units = slice(-len(self.layers) - 1, -1)
        is_unit, unit = targets[:, units].max(1)
        own = logits[:, -len(self.layers) :].gather(1, unit[:, None])
        percentiles = (self.of_samples.to(logits)[unit] < own).double().mean(1)
        probabilities = target_probabilities(logits, targets)
        return torch.where(is_unit > 0, percentiles.to(probabilities), probabilities)
