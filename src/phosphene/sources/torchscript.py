"""TorchScript: ``exported = "model.pt"`` in a card."""

import warnings
from pathlib import Path

import torch
from torch import nn

from phosphene.errors import CardError, one_line
from phosphene.unwrapping import ScriptedNetwork


def load(path: Path) -> tuple[nn.Module, None]:
    """Load a TorchScript file; return it in a ScriptedNetwork, and ``None``: it states no input shapes.

    Raises:
        CardError: the file is damaged, or holds something else.
    """
    fix = "a pickled network is never run; save its state dict as .safetensors and write a card with arch or factory."
    with one_line(CardError, f"{path} is not a TorchScript file", fix), warnings.catch_warnings(action="ignore"):
        script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return ScriptedNetwork(script), None
