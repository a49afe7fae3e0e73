"""``.pt2``: programs of ``torch.export``, with a card beside them. Their loader can unpickle, so they need trust."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, TrustError, first_line
from phosphene.sources.batches import FixedBatch


def open_module(path: Path, shape: tuple[int, int, int], *, trust: bool) -> tuple[nn.Module, "int | None", list[str]]:
    """Load a program; return its network, how many pictures it takes at once (``None``: any), and notes.

    Raises:
        CardError: the file is missing or damaged, or the program takes other pictures than ``shape``.
        TrustError: ``trust`` was not given.
    """
    if not path.is_file():
        raise CardError(f"exported network {path} does not exist.")
    if not trust:
        raise TrustError(
            f"loading {path} can run code that it holds (torch.export keeps pickles): add --trust if you know who made "
            "it, or save the network's state dict as .safetensors and write a card with arch or factory."
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.export.load(path)
            wants = _input_shape(program, path)
            _relax(program)
            network = torch.export.unflatten(program)
    except CardError:
        raise
    except Exception as error:
        raise CardError(f"{path} is no torch.export program that this torch reads: {first_line(error)}") from error
    if wants is not None:
        _compare(wants[1:], shape, path)
    batch = wants[0] if wants is not None and isinstance(wants[0], int) else None
    module: nn.Module = _OneInput(network)
    return (FixedBatch(module, batch) if batch else module), batch, []


class _OneInput(nn.Module):
    """Hands pixels on in the layout that the network was exported with, and takes the first of several answers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Any:
        """Map normalised pixels (n, c, h, w) to the program's answer."""
        answer = self.network(pixels.contiguous())
        return answer[0] if isinstance(answer, list | tuple) and answer else answer


def _input_shape(program: Any, path: Path) -> "tuple[Any, ...] | None":
    """Shape of the program's one picture input; symbols where any size is fine."""
    inputs = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    shapes = [tuple(value.shape) for value in values if isinstance(value, Tensor)]
    if len(shapes) != 1:
        raise CardError(f"{path} takes {len(shapes)} tensors; a classifier takes one, the pictures.")
    return shapes[0]


def _compare(wants: tuple[Any, ...], shape: tuple[int, int, int], path: Path) -> None:
    fixed = [(want, has) for want, has in zip(wants, shape, strict=False) if isinstance(want, int)]
    if len(wants) != len(shape) or any(want != has for want, has in fixed):
        raise CardError(f"{path} takes pictures {tuple(map(str, wants))}, and its card says {shape}: correct [input].")


def _relax(program: Any) -> None:
    """Let views copy where they must: another memory layout than the exported one is no mistake."""
    for graph in [part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]:
        for node in graph.graph.nodes:
            if node.op == "call_function" and node.target is torch.ops.aten.view.default:
                node.target = torch.ops.aten.reshape.default
        graph.recompile()
