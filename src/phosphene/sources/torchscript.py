"""TorchScript: ``exported = "model.pt"`` in a card. It is a program, so it needs trust."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from phosphene.errors import CardError, TrustError, first_line
from phosphene.grids import as_grid


def open_module(path: Path, shape: tuple[int, int, int], *, trust: bool) -> tuple[nn.Module, "int | None", list[str]]:
    """Load a script; return its network, how many pictures it takes at once (``None``: any), and notes.

    Raises:
        CardError: the file is missing, damaged, or something else.
        TrustError: ``trust`` was not given.
    """
    if not path.is_file():
        raise CardError(f"exported network {path} does not exist.")
    if not trust:
        raise TrustError(
            f"loading {path} would run the TorchScript that it holds: add --trust if you know who made it, or save the "
            "network's state dict as .safetensors and write a card with arch or factory."
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise CardError(
            f"{path} is no TorchScript ({first_line(error)}): a pickled network is never run; save its state dict as "
            ".safetensors and write a card with arch or factory."
        ) from error
    return Scripted(script), None, []


class Scripted(nn.Module):
    """A script, whose inner modules cannot be watched: ``activation`` answers with its last spatial activation.

    Args:
        script: Maps normalised pixels (n, c, h, w) to logits.
    """

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script
        self.activation = nn.Identity()

    def forward(self, pixels: Tensor) -> Any:
        """Map normalised pixels (n, c, h, w) to the script's answer."""
        watched = bool(self.activation._forward_hooks)  # noqa: SLF001  (nobody looks: nothing to find)
        watch = _Watch(pixels) if watched else contextlib.nullcontext()
        with watch:
            answer = self.script(pixels)
        if isinstance(watch, _Watch) and watch.last is not None:
            self.activation(watch.last)
        return answer


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the last answer of the operators that run inside that has a place in the pictures."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.size = len(pixels), (pixels.shape[2], pixels.shape[3])
        self.last: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and look at its answer."""
        answer = func(*args, **(kwargs or {}))
        found = isinstance(answer, Tensor) and answer.ndim in (3, 4) and len(answer) == self.count
        if found and as_grid(answer, self.size) is not None:
            self.last = answer
        return answer
