"""``.pt2``: programs of ``torch.export``."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only, tree_unflatten

from phosphene.errors import CardError, one_line
from phosphene.sources.exported import Shape

NO_LIMIT = 2**31  # torch states the largest number that it knows where there is no limit


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
        (images,) = _images(program)[:1]
        if not images.is_floating_point():
            raise CardError(
                f"{path} takes integers ({images.dtype}), which have no gradient: export it with float images."
            )
        return _ImageInput(torch.export.unflatten(program), _largest_batch(program), _keyword(program)), _input_shapes(
            program
        )


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
    """Wraps a program and passes it pixels that are contiguous in memory, whatever layout they came in.

    The program follows them to their device: ``.to()`` moves its weights, but not its constants, and a program creates
    tensors on the device that it was exported on.
    """

    def __init__(self, network: nn.Module, batch: "int | None", keyword: "str | None") -> None:
        super().__init__()
        self.network, self.batch, self.keyword = network, batch, keyword
        self.device: torch.device | None = None  # of the program's constants and new tensors; None if not known yet
        attributes = [(part, *one) for part in network.modules() for one in vars(part).items()]
        self._constants = [(part, name, value) for part, name, value in attributes if isinstance(value, Tensor)]

    def forward(self, pixels: Tensor) -> Any:
        """Return the program's output, or outputs, for normalised pixels (n, c, h, w), computed on their device."""
        if pixels.device != self.device:
            self._follow(pixels.device)
        images = pixels.contiguous()
        return self.network(images) if self.keyword is None else self.network(**{self.keyword: images})

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _follow(self, device: torch.device) -> None:
        """Move the program's constants to a device, and have it create its tensors there."""
        for part, name, value in self._constants:
            setattr(part, name, value.to(device))
        for part in self.network.modules():
            graph: Any = getattr(part, "graph", None)
            if isinstance(graph, torch.fx.Graph):
                for node in graph.nodes:
                    arguments = (node.args, node.kwargs)
                    node.args, node.kwargs = tree_map_only(torch.device, lambda _: device, arguments)
                getattr(part, "graph_module", part).graph = graph  # writes the graph's code anew
        self.device = device


def _images(program: Any) -> list[Tensor]:
    """Return, without values, the tensors that a ``torch.export`` program takes: the images, if it is a classifier."""
    inputs = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.find_nodes(op="placeholder") if node.name in inputs]
    return [value for value in values if isinstance(value, Tensor)]


def _keyword(program: Any) -> "str | None":
    """Return the keyword by which a ``torch.export`` program takes its images; ``None`` if it takes them by position."""
    spec = program.call_spec.in_spec
    positional, keywords = tree_unflatten(range(spec.num_leaves), spec)  # older specs have no children()
    return None if tree_leaves(positional) else next(iter(keywords))


def _input_shapes(program: Any) -> list[Shape]:
    """Return the shapes of a ``torch.export`` program's inputs; a side that may vary is ``None``."""
    shapes = [tuple(value.shape) for value in _images(program)]
    return [tuple(side if isinstance(side, int) else None for side in shape) for shape in shapes]


def _largest_batch(program: Any) -> "int | None":
    """Return the most images that a ``torch.export`` program takes at once, if it states a limit to a number that may vary."""
    batch: Any = _images(program)[0].shape[0]
    limits = program.range_constraints.get(batch.node.expr) if isinstance(batch, torch.SymInt) else None
    return int(limits.upper) if limits is not None and limits.upper < NO_LIMIT else None


def _allow_other_layouts(program: Any) -> None:
    """Turn ``view`` into ``reshape`` in a program, in place: other memory layouts are then no error."""
    for graph in [part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]:
        for node in graph.graph.nodes:
            if node.op == "call_function" and node.target is torch.ops.aten.view.default:
                node.target = torch.ops.aten.reshape.default
        graph.recompile()
