"""ONNX files as other programs write them: weights in nodes, sizes left open, channels last, and recipes for what is not ONNX yet."""

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import phosphene as ph
from phosphene.errors import CardError, PhospheneError
from phosphene.sources.exported import conversion
from phosphene.sources.onnx import load
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


def computed(model):
    """Weights that nodes compute of others, as an unfolded weight norm does: kernels are directions times lengths."""
    nodes, tensors = [], []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4:
            length = np.sqrt((value**2).sum((1, 2, 3), keepdims=True))
            tensors += [
                numpy_helper.from_array(value * 3, f"{tensor.name}_v"),
                numpy_helper.from_array(length, f"{tensor.name}_g"),
            ]
            v, g, norm, direction = (f"{tensor.name}_{what}" for what in ("v", "g", "norm", "direction"))
            nodes.append(helper.make_node("ReduceL2", [v], [norm], axes=[1, 2, 3], keepdims=1))
            nodes.append(helper.make_node("Div", [v, norm], [direction]))
            nodes.append(helper.make_node("Mul", [direction, g], [tensor.name]))
        else:
            tensors.append(tensor)
    graph = helper.make_graph([*nodes, *model.graph.node], "g", model.graph.input, model.graph.output, tensors)
    return helper.make_model(graph, opset_imports=model.opset_import)


def half_inside(model):
    """Half precision between an input and an output of single precision."""
    tensors = [
        numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float16), t.name) for t in model.graph.initializer
    ]
    nodes = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
    for node in nodes:
        for name in ("pixels", model.graph.output[0].name):
            for names in (node.input, node.output):
                if name in names:
                    names[list(names).index(name)] += "_half"
    nodes.insert(0, helper.make_node("Cast", ["pixels"], ["pixels_half"], to=TensorProto.FLOAT16))
    name = model.graph.output[0].name
    nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    graph = helper.make_graph(nodes, "g", model.graph.input, model.graph.output, tensors)
    return helper.make_model(graph, opset_imports=model.opset_import)


@pytest.mark.parametrize("change", [as_constants, turned, channels_last, computed, half_inside])
def test_other_writers_files_answer_as_the_network(tmp_path, change):
    file = export(tmp_path / "a.onnx", None)
    onnx.save(change(onnx.load(file)), file)
    found = ph.load(file)
    pixels = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    near = {"atol": 0.01, "rtol": 0.01} if change is half_inside else {}
    torch.testing.assert_close(found.logits(pixels), tiny.classifier().logits(pixels), **near)
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
    model = onnx.load(file, load_external_data=False)
    for entry in [one for tensor in model.graph.initializer for one in tensor.external_data if one.key == "location"]:
        entry.value = "elsewhere/data"  # a folder in that of the model is its own, too
    file.write_bytes(model.SerializeToString())
    torch.testing.assert_close(ph.load(file).logits(pixels), tiny.classifier().logits(pixels))


def answers(tmp_path, nodes, tensors, version=17):
    """What nodes from ``x`` to ``y`` make of images, by phosphene and by ONNX's own evaluator."""
    given = [numpy_helper.from_array(value, name) for name, value in tensors.items() if name]
    pixels = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    if version < 9:  # where weights are inputs, too
        pixels += [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in given]
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", pixels, output, given)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10 if version > 8 else 3
    )
    onnx.save(model, tmp_path / "a.onnx")
    images = torch.rand((2, 3, 6, 5), generator=torch.Generator().manual_seed(0))
    known = onnx.version_converter.convert_version(model, 17) if version < 11 else model
    (expected,) = ReferenceEvaluator(known).run(None, {"x": images.numpy()})
    return load(tmp_path / "a.onnx")[0].eval()(images), torch.from_numpy(expected.copy())


RULES = {
    **{
        f"linear {kind}": {"mode": "linear", "coordinate_transformation_mode": kind}
        for kind in ("asymmetric", "half_pixel", "align_corners")
    },
    **{
        f"cubic {kind}": {"mode": "cubic", "coordinate_transformation_mode": kind}
        for kind in ("asymmetric", "pytorch_half_pixel")
    },
    "another cubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
    "nothing outside": {"mode": "cubic", "exclude_outside": 1},
    "nearest, as ONNX's default": {},
    "nearest corners": {"coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_ceil"},
    **{
        f"nearest {kind} {way}": {"coordinate_transformation_mode": kind, "nearest_mode": way}
        for kind in ("asymmetric", "half_pixel")
        for way in ("floor", "ceil", "round_prefer_ceil")
    },
}


@pytest.mark.parametrize(
    "by", [{"scales": [1, 1, 1.5, 2.4]}, {"scales": [1, 1, 0.5, 0.6]}, {"sizes": [2, 3, 9, 4]}], ids=str
)
@pytest.mark.parametrize("rule", RULES)
def test_resizing_is_that_of_onnx(tmp_path, rule, by):
    """torch, and so onnx2torch, knows few of ONNX's rules."""
    (name, values), *_ = by.items()
    inputs = ["x", "", "s"] if name == "scales" else ["x", "", "", "s"]
    sizes = np.array(values, np.float32 if name == "scales" else np.int64)
    found, expected = answers(tmp_path, [helper.make_node("Resize", inputs, ["y"], **RULES[rule])], {"s": sizes})
    torch.testing.assert_close(found, expected)


NODES = {
    "CumSum": (17, {"axis": np.array(2)}, {}),
    "CumSum, reversed": (17, {"axis": np.array(2)}, {"reverse": 1}),
    "Pad": (9, {}, {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 1.5}),
    "Resize": (10, {"s": np.array([1, 1, 2, 1], np.float32)}, {}),
    "BatchNormalization": (8, {name: np.array([1, 2, 3], np.float32) for name in "sbmv"}, {}),
    "Gelu": (20, {}, {"approximate": "tanh"}),
    "Pad, newer": (19, {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "value": np.array(1.5, np.float32)}, {}),
    "ReduceMax": (18, {"axes": np.array([2, 3])}, {"keepdims": 0}),
    "ReduceMean": (18, {}, {"noop_with_empty_axes": 1}),
    "ReduceL2": (20, {"axes": np.array([1])}, {}),
    "Resize, newer": (19, {"": None, "s": np.array([1, 1, 2, 1], np.float32)}, {"antialias": 0, "mode": "linear"}),
    "AveragePool": (22, {}, {"kernel_shape": [2, 2], "dilations": [1, 1]}),
    "Slice": (
        13,
        {"from": np.array([1, -1]), "to": np.array([9, -9]), "axes": np.array([1, 3]), "by": np.array([1, -2])},
        {},
    ),
    "Clip": (17, {"": None, "most": np.array(0.5, np.float32)}, {}),
    "LayerNormalization": (17, {"scale": np.arange(5, dtype=np.float32), "shift": np.ones(5, np.float32)}, {}),
}


@pytest.mark.parametrize("name", NODES)
def test_operators_that_onnx2torch_gets_wrong_or_does_not_know(tmp_path, name):
    version, tensors, attributes = NODES[name]
    operator = name.partition(",")[0]
    nodes = [helper.make_node(operator, ["x", *tensors], ["y"], **attributes)]
    found, expected = answers(tmp_path, nodes, tensors, version)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("version", [17, 18, 20])
def test_parts_are_split_as_onnx_splits_them(tmp_path, version):
    given = {"num_outputs": 2} if version > 17 else {}
    nodes = [helper.make_node("Split", ["x"], ["a", "b"], axis=2 if version == 17 else 3, **given)]
    found, expected = answers(tmp_path, [*nodes, helper.make_node("Identity", ["b"], ["y"])], {}, version)
    torch.testing.assert_close(found, expected)


class Modern(nn.Module):
    """What today's networks are made of: layer normalisation, GELU, parts of tensors, padding, clipping, new shapes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.norm, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, pixels):
        maps = self.patches(nn.functional.pad(pixels, (1, 1, 1, 1)))
        tokens = nn.functional.gelu(self.norm(maps.flatten(2).transpose(1, 2)))
        first, second = tokens.chunk(2, dim=2)
        tokens = torch.cat([first * second.sigmoid().clamp(max=0.7), second + torch.ones_like(second[:, :1])], 2)
        return self.head(tokens.amax(1) / tokens.norm(dim=1).clamp_min(0.1))


@pytest.mark.parametrize("version", [16, 17, 18, 19, 20])
def test_networks_of_today_are_read_at_every_version_that_torch_exports(tmp_path, version):
    found = ph.load(export(tmp_path / "a.onnx", None, Modern(), version=version))
    pixels = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.logits(pixels), Modern().eval()((pixels - 0.5) / 0.25), atol=1e-5, rtol=1e-4)
    assert found.logits(pixels.requires_grad_()).sum().requires_grad


def test_what_cannot_be_converted_is_one_line_that_names_the_fix(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    pads = numpy_helper.from_array(np.array([1, 1, 1, 1]), "pads")
    scale, zero = numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.uint8(9), "zero")
    cases = [
        (helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"]), 18, "Pad .*: export it with opset_version=17"),
        (helper.make_node("GridSample", ["x", "x"], ["y"]), 16, r"GridSample.*: export it by torch\.export"),
        (
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"]),
            17,
            "give the file from before quantisation",
        ),
    ]
    for node, version, line in cases:
        graph = helper.make_graph([node], "g", [x], [y], [axes, pads, scale, zero])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)]), tmp_path / "a.onnx")
        with pytest.raises(CardError, match=line) as error:
            load(tmp_path / "a.onnx")
        assert "\n" not in str(error.value)


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


def test_what_converts_a_file_can_be_pasted_whatever_its_name():
    name = """a 'b' "c"; $(d).keras"""
    words = shlex.split(re.search(r"first: (.+) \(pip", conversion(Path(name)))[1])
    assert words[:3] == ["KERAS_BACKEND=torch", "python", "-c"]
    texts = [node.value for node in ast.walk(ast.parse(words[3])) if isinstance(node, ast.Constant)]
    assert {name, name.replace(".keras", ".onnx")} < set(texts)
    tflite = shlex.split(conversion(Path("my; net.tflite")))
    assert "my; net.tflite" in tflite
    assert "my; net.onnx" in tflite
