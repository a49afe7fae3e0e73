"""ONNX files as other programs write them: weights in nodes, sizes left open, channels last, and recipes for what is not ONNX yet."""

import numpy as np
import onnx
import onnx.version_converter
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import phosphene as ph
from phosphene.errors import CardError, PhospheneError
from tests import tiny
from tests.unit.test_exported import export


def as_constants(model):
    """Weights as nodes, each passed on by Identity, and an input of any size: as Paddle writes them."""
    nodes = []
    for tensor in model.graph.initializer:
        nodes.append(helper.make_node("Constant", [], [f"{tensor.name}_raw"], value=tensor))
        nodes.append(helper.make_node("Identity", [f"{tensor.name}_raw"], [tensor.name]))
    nodes += list(model.graph.node)
    last = nodes[-1]
    nodes.append(helper.make_node("Identity", [last.output[0]], ["answer"]))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [-1, 3, "?", "?"])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [-1, 5])
    return helper.make_model(helper.make_graph(nodes, "g", [pixels], [answer]), opset_imports=model.opset_import)


def turned(model):
    """Weights of convolutions that a node turns into their order, in half precision, as TensorFlow writes them."""
    nodes, tensors = [], []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4:
            tensors.append(numpy_helper.from_array(value.transpose(2, 3, 1, 0).copy(), f"{tensor.name}_raw"))
            nodes.append(helper.make_node("Transpose", [f"{tensor.name}_raw"], [tensor.name], perm=[3, 2, 0, 1]))
        else:
            tensors.append(tensor)
    graph = helper.make_graph([*nodes, *model.graph.node], "g", model.graph.input, model.graph.output, tensors)
    return helper.make_model(graph, opset_imports=model.opset_import)


def channels_last(model):
    """Images (n, h, w, c), as TensorFlow and Keras take them."""
    pixels = helper.make_tensor_value_info("nhwc", TensorProto.FLOAT, ["n", 16, 16, 3])
    nodes = [helper.make_node("Transpose", ["nhwc"], ["pixels"], perm=[0, 3, 1, 2]), *model.graph.node]
    graph = helper.make_graph(nodes, "g", [pixels], model.graph.output, model.graph.initializer)
    return helper.make_model(graph, opset_imports=model.opset_import)


@pytest.mark.parametrize("change", [as_constants, turned, channels_last])
def test_other_writers_files_answer_as_the_network(tmp_path, change):
    file = export(tmp_path / "a.onnx", None)
    onnx.save(change(onnx.load(file)), file)
    found = ph.load(file)
    pixels = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.logits(pixels), tiny.classifier().logits(pixels))
    (made,) = ph.map_concepts(found, [1], overrides=tiny.SHORT, device="cpu", progress=False)
    assert made.nu.abs().max() > 0


def test_what_torch_exports_today_has_newer_operators_and_its_weights_beside_it(tmp_path):
    """torch's default exporter needs onnxscript; this is its form: operators of version 18 and later, weights in a second file."""
    file = export(tmp_path / "a.onnx", None)
    model = onnx.version_converter.convert_version(onnx.load(file), 20)
    assert "GlobalAveragePool" in [node.op_type for node in model.graph.node]
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    model.graph.initializer.append(axes)
    for node in [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]:
        node.op_type = "ReduceMean"
        node.input.append("axes")
    onnx.save_model(model, file, save_as_external_data=True, location="a.onnx.data", size_threshold=0)
    assert (tmp_path / "a.onnx.data").stat().st_size > 1000
    pixels = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ph.load(file).logits(pixels), tiny.classifier().logits(pixels))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.onnx.data").rename(tmp_path / "elsewhere" / "data")
    with pytest.raises(CardError, match="has its weights in other files"):
        ph.load(file)
    (tmp_path / "a.onnx.data").symlink_to(tmp_path / "elsewhere" / "data")
    with pytest.raises(CardError, match="has its weights in other files"):
        ph.load(file)


def test_damaged_constants_are_one_line(tmp_path):
    model = onnx.load(export(tmp_path / "a.onnx", None))
    bad = helper.make_tensor("bad", TensorProto.FLOAT, [4], np.zeros(4, np.float32).tobytes(), raw=True)
    bad.dims[0] = 9
    model.graph.node.insert(0, helper.make_node("Constant", [], ["bad"], value=bad))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CardError, match=r"a\.onnx holds damaged weights") as error:
        ph.load(tmp_path / "a.onnx")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.tflite", "saved_model.pb", "net.pdmodel", "net.pkl"])
def test_formats_of_other_libraries_are_refused_with_what_converts_them(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89HDF")
    (tmp_path / "card.toml").write_text(f'exported = "{name}"\n[input]\nsize = [9, 9]\n', encoding="utf-8")
    said = []
    for spec in (tmp_path / name, tmp_path / "card.toml"):
        with pytest.raises(PhospheneError, match=r"export|convert|paddle2onnx|save") as error:
            ph.load(spec)
        assert "\n" not in str(error.value)
        said.append(str(error.value))
    assert said[0].split("convert")[-1] == said[1].split("convert")[-1]
