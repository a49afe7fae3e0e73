"""Exported networks: programs of ``torch.export``, ONNX and TorchScript, with a card of the same name beside them.

A kind of file is one module with ``load(path)``, named in ``LOADERS``. Where loading can run code that the file holds,
its ``RISK`` says so, and the user's trust is needed.
"""

import importlib
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, TrustError

Shape = tuple["int | None", ...]  # (n, c, h, w); None if any size is accepted

# suffix -> module
LOADERS = {
    ".pt2": "phosphene.sources.pt2",
    ".onnx": "phosphene.sources.onnx",
    **dict.fromkeys((".pt", ".pth", ".ts", ".torchscript"), "phosphene.sources.torchscript"),
}


class Loader(Protocol):
    """Interface of the module of a kind of file.

    Attributes:
        RISK: What code loading may run, for the message that asks for trust; empty if it runs none.
        NOTES: What the user should know of every network of this kind.
    """

    RISK: str
    NOTES: list[str]

    def load(self, path: Path) -> "tuple[nn.Module, Shape | None]":
        """Return the network, and the shape of its input if the file states it."""


def open_exported(path: Path, shape: tuple[int, int, int], *, trust: bool) -> tuple[nn.Module, "int | None", list[str]]:
    """Load an exported network.

    Args:
        path: The file; its suffix is one of ``LOADERS``.
        shape: (c, h, w) of the images that its card declares.
        trust: Whether loading may run code that the file holds.

    Returns:
        The network, how many images it takes at once (``None``: any number), and notes.

    Raises:
        CardError: the file is missing or damaged, or the network takes images of another shape.
        ExtraError: the library that loads it is missing or broken.
        TrustError: loading needs ``trust``.
    """
    if not path.is_file():
        raise CardError(f"exported network {path} does not exist.")
    loader = cast("Loader", importlib.import_module(LOADERS[path.suffix.lower()]))
    if loader.RISK and not trust:
        raise TrustError(
            f"loading {path} {loader.RISK}: add --trust if you know who made it, or save the network's state dict as "
            ".safetensors and write a card with arch or factory."
        )
    network, takes = loader.load(path)
    if takes is None:
        return network, None, loader.NOTES
    batch, *sides = takes
    if len(sides) != 3 or any(side not in (None, own) for side, own in zip(sides, shape, strict=True)):
        listed = ", ".join("any" if side is None else str(side) for side in sides)
        raise CardError(f"{path} takes images of shape ({listed}), but its card declares {shape}: correct [input].")
    return (FixedBatch(network, batch) if batch else network), batch, loader.NOTES


class FixedBatch(nn.Module):
    """Sends any number of images through a network that takes exactly ``batch`` at once; the last batch is padded.

    Args:
        network: The network.
        batch: How many images it takes.

    Example:
        >>> FixedBatch(nn.Linear(3, 2), 4)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, batch: int) -> None:
        super().__init__()
        self.network, self.batch = network, batch

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (n, c, h, w) to outputs (n, ...)."""
        padding = pixels[-1:].expand(-len(pixels) % self.batch, *pixels.shape[1:])
        batches = torch.split(torch.cat([pixels, padding]), self.batch)
        return torch.cat([self.network(batch) for batch in batches])[: len(pixels)]
