"""``.onnx``: ONNX networks. Experimental: onnx2torch, which converts them, supports most operators.

The file is data; no code of it is run. Names are replaced before conversion, because torch.fx writes code from names.
"""

import importlib
import math
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from phosphene.errors import CardError, one_line
from phosphene.extras import require
from phosphene.sources.exported import Shape
from phosphene.sources.libraries import ChangedInput
from phosphene.sources.onnx_layers import Resize, Rule, Slice

# Operators that compute a weight of at most about the size of their input, so that no file fills the memory.
FOLDED_OPERATORS = {
    "Cast",
    "Constant",
    "Identity",
    "ReduceL2",
    "ReduceSum",
    "Reshape",
    "Sqrt",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
# Which do, too, unless each input is the larger one in some dimension.
ELEMENTWISE_OPERATORS = {"Add", "Div", "Mul", "Pow", "Sub"}
MIN_OPSET = 11  # versions before it have operators that onnx2torch does not know, or gets wrong: Pad, Resize, Upsample
KNOWN_OPSET = 17  # the newest version of which onnx2torch knows nearly all operators


def load(path: Path) -> tuple[nn.Module, list[Shape]]:
    """Convert an ONNX file to a torch network; return it and the shapes of its inputs.

    Raises:
        CardError: the file is damaged, names weights in another folder, or holds what cannot be converted.
        ExtraError: onnx or onnx2torch is missing or broken.
    """
    onnx, converter = require("onnx", "onnx"), require("onnx2torch", "onnx")
    with one_line(CardError, f"{path} is not an ONNX file"):
        model = onnx.load(str(path), load_external_data=False)
    _check_external_files(model, path, onnx)
    with one_line(CardError, f"{path} holds damaged weights"):
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        _widen(model, onnx)
        _fold_constants(model, onnx)
    if any("QuantizeLinear" in node.op_type for node in model.graph.node):
        raise CardError(f"{path} is quantised, and has no gradient: give the file from before quantisation.")
    is_newer = any(entry.version > KNOWN_OPSET and not entry.domain for entry in model.opset_import)
    fix = f"export it with opset_version={KNOWN_OPSET}." if is_newer else "export it by torch.export, as .pt2, instead."
    with one_line(CardError, f"{path} cannot be converted to torch", fix), warnings.catch_warnings(action="ignore"):
        model = _at_known_version(model)
        _rename_nodes(model, onnx)
        shapes = _input_shapes(model)
        importlib.import_module("phosphene.sources.onnx_operators").register()
        network: nn.Module = converter.convert(model)
        _mend(network, model, onnx)
    kinds = [value.type.tensor_type.elem_type for value in _inputs(model)]
    if kinds == [onnx.TensorProto.UINT8]:  # it begins with their cast to floats, which floats pass, too
        network = ChangedInput(network, partial(torch.mul, other=255))
    return network, shapes


def _check_external_files(model: Any, path: Path, onnx: Any) -> None:
    """Raise CardError if a file of an ONNX model's weights is not in the model's folder, or a link leads elsewhere.

    Raises:
        CardError: such a file is named.
    """
    for tensor in [one for one in _tensors(model) if one.data_location == onnx.TensorProto.EXTERNAL]:
        name = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        file = path.parent / name
        outside = file.is_symlink() or not file.resolve().is_relative_to(path.parent.resolve())
        if outside or not file.is_file():
            raise CardError(f"{path} has its weights in other files, and {name!r} is none in its folder: put it there.")


def _widen(model: Any, onnx: Any) -> None:
    """Turn half precision into single in an ONNX model, in place.

    That is in weights, constants, casts, inputs and outputs.
    """
    single, halves = onnx.TensorProto.FLOAT, (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    for tensor in [one for one in _tensors(model) if one.data_type in halves]:
        value = onnx.numpy_helper.to_array(tensor).astype("float32")
        tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    for attribute in [one for node in model.graph.node for one in node.attribute if one.name in ("to", "dtype")]:
        attribute.i = single if attribute.i in halves else attribute.i
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        tensor_type = value.type.tensor_type
        tensor_type.elem_type = single if tensor_type.elem_type in halves else tensor_type.elem_type


def _rename_nodes(model: Any, onnx: Any) -> None:
    """Give the nodes of an ONNX model new names, plain words with a number, in place.

    They also get the form that onnx2torch reads: no empty last inputs, Min for a Clip without a lower bound, and the
    default of CumSum, which it gets wrong.
    """
    for number, node in enumerate(model.graph.node):
        while node.input and not node.input[-1]:
            del node.input[-1]
        if node.op_type == "Clip" and list(node.input[1:2]) == [""]:
            node.op_type = "Min"
            del node.input[1]
        kind = "".join(sign for sign in node.op_type if sign.isascii() and sign.isalnum())
        node.name = f"{kind}_{number}"
        if kind == "CumSum" and not any(one.name == "reverse" for one in node.attribute):
            node.attribute.add(name="reverse", i=0, type=onnx.AttributeProto.INT)


def _mend(network: nn.Module, model: Any, onnx: Any) -> None:
    """Replace, in place, each Slice of a converted network, and each Resize that torch does otherwise than the ``model`` says.

    Layer normalisations get the shape of their weights: onnx2torch takes it from the input, whose shape may be open.
    """
    for node in [node for node in model.graph.node if node.op_type == "Slice"]:
        setattr(network, node.name, Slice())
    for layer in [one for one in network.modules() if isinstance(one, nn.LayerNorm)]:
        layer.normalized_shape = tuple(layer.weight.shape)
    for node in [node for node in model.graph.node if node.op_type == "Resize"]:
        attributes = [one for one in node.attribute if one.name in Rule._fields]
        raw = {one.name: onnx.helper.get_attribute_value(one) for one in attributes}
        values: dict[str, Any] = {key: one.decode() if isinstance(one, bytes) else one for key, one in raw.items()}
        rule = Rule(**values)
        if not rule.is_torch:
            setattr(network, node.name, Resize(rule))


def _fold_constants(model: Any, onnx: Any) -> None:
    """Replace nodes of a model that only state, cast or rearrange weights by their results, in place.

    Conv takes no computed weights. Paddle stores every weight in a Constant node; exporters share weights by Identity
    and turn them by Transpose.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    other_nodes = []
    for node in model.graph.node:
        if not all(name in weights for name in node.input) or not _keeps_size(node, weights):
            other_nodes.append(node)
            continue
        inputs, output = [weights[name] for name in node.input], node.output[0]
        graph = onnx.helper.make_graph([node], "node", [], [onnx.ValueInfoProto(name=output)], inputs)
        node_model = onnx.helper.make_model(graph, opset_imports=model.opset_import)
        (value,) = importlib.import_module("onnx.reference").ReferenceEvaluator(node_model).run(None, {})
        weights[output] = onnx.numpy_helper.from_array(value, output)
        model.graph.initializer.append(weights[output])
    copies = [type(node).FromString(node.SerializeToString()) for node in other_nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _keeps_size(node: Any, weights: Mapping[str, Any]) -> bool:
    """Return whether a node computes of ``weights``, by name, one of at most about the size of the largest."""
    sizes = [tuple(weights[name].dims) for name in node.input]
    is_elementwise = node.op_type in ELEMENTWISE_OPERATORS
    grows = is_elementwise and math.prod(np.broadcast_shapes(*sizes)) > max(map(math.prod, sizes))
    return (is_elementwise or node.op_type in FOLDED_OPERATORS) and not grows


def _at_known_version(model: Any) -> Any:
    """Return the ONNX model, converted to version 17 of the operators if its own is older than 11."""
    if any(entry.version < MIN_OPSET and not entry.domain for entry in model.opset_import):
        # Before 4, weights are listed among the inputs, too, but folded ones are not.
        model.ir_version = max(model.ir_version, 4)
        return importlib.import_module("onnx.version_converter").convert_version(model, KNOWN_OPSET)
    return model


def _tensors(model: Any) -> Iterator[Any]:
    """Yield the weights of an ONNX model's main graph, and the tensors of its nodes' attributes.

    An attribute that holds none yields an empty tensor.
    """
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _input_shapes(model: Any) -> list[Shape]:
    """Return the shapes of an ONNX model's inputs, ``None`` for a side that may vary; weights are left out."""
    return [
        tuple(side.dim_value if side.dim_value > 0 else None for side in value.type.tensor_type.shape.dim)
        for value in _inputs(model)
    ]


def _inputs(model: Any) -> list[Any]:
    """Return an ONNX model's inputs without its weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]
