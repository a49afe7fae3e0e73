"""``.onnx``: ONNX networks. Experimental: onnx2torch, which converts them, supports most operators.

The file is data; no code of it is run. Names are replaced before conversion, because torch.fx writes code from names.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from phosphene.errors import CardError, one_line
from phosphene.extras import require
from phosphene.sources.exported import Shape


def load(path: Path) -> tuple[nn.Module, list[Shape]]:
    """Convert an ONNX file to a torch network; return it and the shapes of its inputs.

    Raises:
        CardError: the file is damaged or in several parts, or holds what cannot be converted.
        ExtraError: onnx or onnx2torch is missing or broken.
    """
    onnx, converter = require("onnx", "onnx"), require("onnx2torch", "onnx")
    with one_line(CardError, f"{path} is not an ONNX file"):
        model = onnx.load(str(path), load_external_data=False)
    _rename_nodes(model)
    _copy_shared_weights(model)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise CardError(f"{path} has its weights in other files: save it as one file (onnx.save_model).")
    shapes = _input_shapes(model)
    with one_line(CardError, f"{path} cannot be converted by onnx2torch"), warnings.catch_warnings(action="ignore"):
        network: nn.Module = converter.convert(model)
    return network, shapes


def _rename_nodes(model: Any) -> None:
    """Give the nodes of an ONNX model new names, plain words with a number, in place."""
    for number, node in enumerate(model.graph.node):
        kind = "".join(sign for sign in node.op_type if sign.isascii() and sign.isalnum())
        node.name = f"{kind}_{number}"


def _copy_shared_weights(model: Any) -> None:
    """Replace each Identity node of an ONNX model that passes a weight on by a copy of that weight, in place."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Identity" and node.input[0] in weights]:
        copy = model.graph.initializer.add()
        copy.CopyFrom(weights[node.input[0]])
        copy.name = node.output[0]
        weights[copy.name] = copy
        model.graph.node.remove(node)


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor in the main graph of an ONNX model, weights and attributes of nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _input_shapes(model: Any) -> list[Shape]:
    """Return the shapes of an ONNX model's inputs, ``None`` for a side that may vary; weights are no inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    return [tuple(int(side.dim_value) or None for side in value.type.tensor_type.shape.dim) for value in inputs]
