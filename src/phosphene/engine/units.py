"""The layers of a network whose units can be read, and the mean activations of their units."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from phosphene.engine.modules import forward_hooks
from phosphene.spatial_activation import as_spatial_activation

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine


@dataclass(frozen=True)
class Layer:
    """A layer of a network whose units can be named: its name, the kind of module, the shape of its output and its number of units.

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


def hookable(module: nn.Module) -> dict[nn.Module, str]:
    """Return the modules of a network, with their names, that accept hooks: no scripted ones, and not the network itself."""
    return {
        part: name for name, part in module.named_modules() if name and not isinstance(part, torch.jit.ScriptModule)
    }


def list_layers(engine: "Engine") -> list[Layer]:
    """Return the layers of an open engine's network whose units can be named, in the order in which a grey image passes them last."""
    space, names = engine.classifier.input, hookable(engine.classifier.module)
    found: dict[str, Layer] = {}

    def hook(part: nn.Module, _: object, output: object) -> None:
        """Forward hook: note the layer, if its output has units and belongs to the one image."""
        mean = mean_activations(output, space.size)
        if mean is not None and isinstance(output, Tensor) and len(output) == batch:
            found.pop(names[part], None)  # of a module that is called again, the last call counts
            found[names[part]] = Layer(names[part], type(part).__name__, tuple(output.shape[1:]), mean.shape[1])

    batch = engine.classifier.batch or 1  # a network of a fixed batch size gets padding
    with forward_hooks(list(names), hook):
        engine.logits(torch.full((1, *space.shape), 0.5))
    return list(found.values())
