"""Converters for onnx2torch: versions of ONNX's operators that it does not know yet."""

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from onnx import defs
from onnx2torch.node_converters.reduce import OnnxReduceStaticAxes
from onnx2torch.node_converters.registry import add_converter, get_converter
from onnx2torch.utils.common import OnnxMapping, OperationConverterResult, get_const_value
from torch import Tensor, nn

Converter = Callable[[Any, Any], Any]  # from a node and its graph to a torch module and the inputs that it takes


@functools.cache
def register() -> None:
    """Enter converters with onnx2torch: of new operators, and of all newer versions of those that it knows."""
    add_converter("Gelu", 20)(lambda node, _: _result(node, nn.GELU(node.attributes.get("approximate", "none"))))
    add_converter("Split", 18)(
        lambda node, _: _result(node, Split(node.attributes.get("axis", 0), len(node.output_values)))
    )
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda one: one.since_version):
        if schema.name.startswith("Reduce") and schema.since_version in (18, 20):
            add_converter(schema.name, schema.since_version)(_reduce)
        elif not schema.domain and schema.since_version > 1:
            with suppress(NotImplementedError, ValueError):  # which say that it knows no older one, or this one, too
                add_converter(schema.name, schema.since_version)(_as_older(schema))


def _as_older(schema: Any) -> Converter:
    """Return the converter of an operator's last version before ``schema``; it refuses nodes that use what is newer.

    Most newer versions differ only in the types of numbers that they take.

    Raises:
        NotImplementedError: onnx2torch knows no older version.
    """
    convert = get_converter(schema.name, schema.since_version - 1)
    older = defs.get_schema(schema.name, max_inclusive_version=schema.since_version - 1, domain="")

    def convert_as_older(node: Any, graph: Any) -> Any:
        newer = [one for one in node.proto.attribute if one.name not in older.attributes and set(one.ints) != {1}]
        names = [one.name for one in newer if one != schema.attributes[one.name].default_value]
        if names or len(node.input_values) > older.max_input:
            what = f"its {', '.join(names) or 'last input'}"
            raise NotImplementedError(f"{schema.name} of version {schema.since_version} is not known with {what}")
        return convert(node, graph)

    return convert_as_older


def _result(node: Any, module: nn.Module, inputs: "tuple[str, ...] | None" = None) -> Any:
    """Return what a converter returns for a node: the module, and its inputs, which are the node's if not given."""
    return OperationConverterResult(
        module, OnnxMapping(node.input_values if inputs is None else inputs, node.output_values)
    )


def _reduce(node: Any, graph: Any) -> Any:
    """Convert a reduction, whose axes are an input from version 18 on; KeyError if they are computed."""
    pixels, *axes = node.input_values
    numbers = get_const_value(axes[0], graph).tolist() if any(axes) else []
    if not numbers and node.attributes.get("noop_with_empty_axes", 0):
        return _result(node, nn.Identity(), (pixels,))
    module = OnnxReduceStaticAxes(node.operation_type, numbers, node.attributes.get("keepdims", 1))
    return _result(node, module, (pixels,))


class Split(nn.Module):
    """Splits a tensor along an axis, by sizes or into equal parts, of which the last may be smaller."""

    def __init__(self, axis: int, parts: int) -> None:
        super().__init__()
        self.axis, self.parts = axis, parts

    def forward(self, values: Tensor, sizes: "Tensor | None" = None) -> tuple[Tensor, ...]:
        """Return the parts of ``values``, whose lengths along the axis are ``sizes`` (parts,) if they are given."""
        lengths = -(-values.shape[self.axis] // self.parts) if sizes is None else sizes.tolist()
        return torch.split(values, lengths, self.axis)
