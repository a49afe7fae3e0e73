"""``.onnx``: ONNX networks, with a card beside them. Experimental: onnx2torch, the converter, knows most operators.

The file is data; no code of it is run. Names are replaced before conversion, because torch.fx writes code from names.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from phosphene.errors import CardError, first_line
from phosphene.extras import require
from phosphene.sources.batches import FixedBatch

NOTE = "ONNX is experimental here: its answers are those of a conversion to torch"


def open_module(path: Path, shape: tuple[int, int, int], *, trust: bool) -> tuple[nn.Module, "int | None", list[str]]:
    """Convert a network; return it, how many pictures it takes at once (``None``: any), and notes.

    Raises:
        CardError: the file is missing, damaged or in several parts, or holds what cannot be converted.
        ExtraError: onnx or onnx2torch is missing or broken.
    """
    if not path.is_file():
        raise CardError(f"exported network {path} does not exist.")
    onnx, converter = require("onnx", "onnx"), require("onnx2torch", "onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise CardError(f"{path} is no ONNX file: {first_line(error)}") from error
    _rename(model)
    _unshare(model)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise CardError(f"{path} keeps its weights in other files: save it as one file (onnx.save_model).")
    wants = _input_shape(model, path)
    if len(wants) != 4 or any(want not in (0, has) for want, has in zip(wants[1:], shape, strict=True)):
        raise CardError(f"{path} takes pictures {wants[1:]}, and its card says {shape}: correct [input].")
    try:
        with warnings.catch_warnings(action="ignore"):
            network: nn.Module = converter.convert(model)
    except Exception as error:
        raise CardError(f"{path} cannot be converted by onnx2torch: {first_line(error)}") from error
    batch = wants[0] or None
    return (FixedBatch(network, batch) if batch else network), batch, [NOTE]


def _rename(model: Any) -> None:
    """Give nodes names that are plain words."""
    for number, node in enumerate(model.graph.node):
        kind = "".join(sign for sign in node.op_type if sign.isascii() and sign.isalnum())
        node.name = f"{kind}_{number}"


def _unshare(model: Any) -> None:
    """Copy a weight that nodes share through Identity to each of them: the converter looks for weights themselves."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Identity" and node.input[0] in weights]:
        copy = model.graph.initializer.add()
        copy.CopyFrom(weights[node.input[0]])
        copy.name = node.output[0]
        weights[copy.name] = copy
        model.graph.node.remove(node)


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of the main graph; the converter knows no other."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _input_shape(model: Any, path: Path) -> tuple[int, ...]:
    """Shape of the one picture input, 0 where any size is fine."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise CardError(f"{path} takes {len(inputs)} tensors; a classifier takes one, the pictures.")
    return tuple(int(side.dim_value) for side in inputs[0].type.tensor_type.shape.dim)
