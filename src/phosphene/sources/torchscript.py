"""TorchScript: ``exported = "model.pt"`` in a card."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from phosphene.errors import CardError, one_line
from phosphene.spatial_activation import as_spatial_activation


def load(path: Path) -> tuple[nn.Module, None]:
    """Load a TorchScript file as a network; return it and ``None``, since the file states no input shapes.

    Raises:
        CardError: the file is damaged, or holds something else.
    """
    fix = "a pickled network is never run; save its state dict as .safetensors and write a card with arch or factory."
    with one_line(CardError, f"{path} is not a TorchScript file", fix), warnings.catch_warnings(action="ignore"):
        script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return ScriptedNetwork(script), None


class ScriptedNetwork(nn.Module):
    """Module around a TorchScript network, which accepts no hooks: hooks on its submodule ``activation`` get the last spatial activation.

    Args:
        script: Maps normalised pixels (n, c, h, w) to logits.
    """

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script
        self.activation = nn.Identity()

    def forward(self, pixels: Tensor) -> Any:
        """Return the script's output for normalised pixels (n, c, h, w); call the hooks of ``activation``."""
        if not self.activation._forward_hooks:  # noqa: SLF001  (the activation is not wanted, so it need not be found)
            return self.script(pixels)
        with _LastSpatialActivation(pixels) as operators:
            output = self.script(pixels)
        if operators.last is not None:
            self.activation(operators.last)
        return output


class _LastSpatialActivation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """For a ``with`` block: keep, as ``last``, the last output of an operator inside that is a spatial activation."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.size = len(pixels), (pixels.shape[2], pixels.shape[3])
        self.last: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, note its output if it is a spatial activation, and return it."""
        output = func(*args, **(kwargs or {}))
        batched = isinstance(output, Tensor) and output.ndim in (3, 4) and len(output) == self.count
        if batched and as_spatial_activation(output, self.size) is not None:
            self.last = output
        return output
