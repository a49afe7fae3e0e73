"""``.pt2``: programs of ``torch.export``."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, one_line
from phosphene.sources.exported import Shape


def load(path: Path) -> tuple[nn.Module, list[Shape]]:
    """Load a ``torch.export`` program as a network; return it and the shapes of its inputs.

    Raises:
        CardError: the file is damaged.
    """
    complaint = f"{path} is not a torch.export program that this torch can load"
    fix = "export it again, with torch before 2.8 by strict=False."
    with one_line(CardError, complaint, fix), warnings.catch_warnings(action="ignore"), _quiet_log():
        program = torch.export.load(path)
        _allow_other_layouts(program)
        return _ImageInput(torch.export.unflatten(program)), _input_shapes(program)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """For a ``with`` block: keep torch.export from logging tracebacks.

    It does so for a damaged file before it raises.
    """
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


class _ImageInput(nn.Module):
    """Wraps a program and passes it pixels that are contiguous in memory, whatever layout they came in."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Any:
        """Return the program's output, or outputs, for normalised pixels (n, c, h, w)."""
        return self.network(pixels.contiguous())


def _input_shapes(program: Any) -> list[Shape]:
    """Return the shapes of a ``torch.export`` program's inputs; a side that may vary is ``None``."""
    inputs = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    shapes = [tuple(value.shape) for value in values if isinstance(value, Tensor)]
    return [tuple(side if isinstance(side, int) else None for side in shape) for shape in shapes]


def _allow_other_layouts(program: Any) -> None:
    """Turn ``view`` into ``reshape`` in a program, in place: other memory layouts are then no error."""
    for graph in [part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]:
        for node in graph.graph.nodes:
            if node.op == "call_function" and node.target is torch.ops.aten.view.default:
                node.target = torch.ops.aten.reshape.default
        graph.recompile()
