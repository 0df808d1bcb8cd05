import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from zsad_calibration.int8.linears import find_linears
from zsad_calibration.int8.qdq import write_int8
from zsad_calibration.int8.scheme import Scheme


def two_layers(first, second):
    """image / 1 -> MatMul -> Relu -> Gemm with transB, both in blocks."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], name="graph/Cast", to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"], name="graph/Flatten"),
        helper.make_node("MatMul", ["flat", "w1"], ["a"], name="blocks.0.mlp.0/MatMul"),
        helper.make_node("Relu", ["a"], ["b"], name="blocks.0.mlp.1/Relu"),
        helper.make_node("Gemm", ["b", "w2", "c"], ["y"], name="blocks.0.mlp.2/Gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.float32(first), "w1"),
            numpy_helper.from_array(np.float32(second), "w2"),
            numpy_helper.from_array(np.float32([0.5, -0.5]), "c"),
        ],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def known(tmp_path):
    """Weights whose scales are 1 and 0.5 by output channel; activations of scale 2 and 100."""
    first = [[127.0, 10.0], [1.4, -63.5], [-1.6, 0.2]]  # (in, out): scales 1, 0.5
    second = [[254.0, 3.0], [0.0, -12.7]]  # (out, in): scales 2, 0.1
    onnx.save(two_layers(first, second), tmp_path / "a.onnx")
    schemes = [
        Scheme("blocks.0.mlp.0", "minmax", (254.0,), 0.0),
        Scheme("blocks.0.mlp.2", "minmax", (12_700.0,), 0.0),
    ]
    assert write_int8(tmp_path / "a.onnx", tmp_path / "b.onnx", schemes) is None
    return onnx.load(tmp_path / "b.onnx")


def stored(model):
    return {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}


def test_weights_are_codes_with_a_scale_per_output_channel(known):
    found = stored(known)
    np.testing.assert_array_equal(found["w1.int8"], [[127, 20], [1, -127], [-2, 0]])
    np.testing.assert_allclose(found["w1.scale"], [1.0, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(found["w2.int8"], [[127, 2], [0, -127]])
    np.testing.assert_allclose(found["w2.scale"], [2.0, 0.1], rtol=1e-6)
    assert "w1" not in found and "w2" not in found
    axes = {
        node.input[0]: helper.get_attribute_value(node.attribute[0])
        for node in known.graph.node
        if node.op_type == "DequantizeLinear" and node.attribute
    }
    assert axes == {"w1.int8": 1, "w2.int8": 0}


def test_everything_is_symmetric_and_the_bias_stays_float(known):
    found = stored(known)
    zeros = [value for name, value in found.items() if name.endswith(".zero")]
    assert len(zeros) == 4 and all(z.dtype == np.int8 and not z.any() for z in zeros)
    np.testing.assert_array_equal(found["c"], np.float32([0.5, -0.5]))


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_the_numbers_are_those_of_hand(known, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(known.SerializeToString(), options)
    image = np.uint8([3, 100, 255]).reshape(1, 1, 1, 3)
    # 3 / 2 rounds to even: codes 2, 50 and 127 (of 128, clipped) at 2 each.
    flat = np.array([4.0, 100.0, 254.0])
    a = flat @ np.array([[127, 10], [1, -63.5], [-2, 0]])
    b = np.clip(np.rint(np.maximum(a, 0) / 100), -127, 127) * 100
    expected = b @ np.array([[254, 4], [0, -12.7]]).T + [0.5, -0.5]
    np.testing.assert_allclose(session.run(None, {"image": image})[0][0], expected, rtol=1e-6)


def test_nodes_keep_the_names_of_their_modules(known):
    names = [node.name for node in known.graph.node]
    assert names == [
        "graph/Cast",
        "graph/Flatten",
        "blocks.0.mlp.0/DequantizeLinear",
        "blocks.0.mlp.0/QuantizeLinear",
        "blocks.0.mlp.0/DequantizeLinear_1",
        "blocks.0.mlp.0/MatMul",
        "blocks.0.mlp.1/Relu",
        "blocks.0.mlp.2/DequantizeLinear",
        "blocks.0.mlp.2/QuantizeLinear",
        "blocks.0.mlp.2/DequantizeLinear_1",
        "blocks.0.mlp.2/Gemm",
    ]


def test_an_activation_is_quantized_before_the_first_that_reads_it(tmp_path):
    """The first weight is used again behind another linear that reads the same activation."""
    model = two_layers(np.eye(3), np.ones((3, 3)))
    graph = model.graph
    del graph.node[2:]
    block = "blocks.0.mlp"
    for name, inputs in (
        (f"{block}.0/MatMul", ["flat", "w1"]),
        (f"{block}.1/MatMul", [f"{block}.0/MatMul", "w2"]),
        (f"{block}.0/MatMul_1", [f"{block}.0/MatMul", "w1"]),
        ("sum/Add", [f"{block}.1/MatMul", f"{block}.0/MatMul_1"]),
    ):
        output = "y" if name == "sum/Add" else name
        kind = name.rpartition("/")[2].partition("_")[0]
        graph.node.append(helper.make_node(kind, inputs, [output], name=name))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    del graph.value_info[:], graph.initializer[2:]
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "a.onnx")
    schemes = [
        Scheme("blocks.0.mlp.0", "minmax", (127.0, 127.0), 0.0),
        Scheme("blocks.0.mlp.1", "minmax", (127.0,), 0.0),
    ]
    write_int8(tmp_path / "a.onnx", tmp_path / "b.onnx", schemes)
    session = ort.InferenceSession(tmp_path / "b.onnx", providers=["CPUExecutionProvider"])
    image = np.uint8([1, 2, 3]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(session.run(None, {"image": image})[0], [[7, 8, 9]], rtol=1e-5)
    kinds = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert kinds.count("QuantizeLinear") == 2


def all_schemes(model, **ranges):
    return [
        Scheme(one.layer, "minmax", tuple(20.0 for _ in one.calls), 0.0)
        for one in find_linears(model.graph)
    ]


def test_a_shared_weight_is_stored_and_dequantized_once(model, path, tmp_path):
    write_int8(path, tmp_path / "b.onnx", all_schemes(model))
    graph = onnx.load(tmp_path / "b.onnx").graph
    codes = [w.name for w in graph.initializer if w.name.endswith(".int8")]
    assert len(codes) == len(set(codes)) == 5
    first, second = (node for node in graph.node if "out_proj/MatMul" in node.name)
    assert first.input[1] == second.input[1] and first.input[0] != second.input[0]


def in_half(model):
    """The model with its float compute in FP16, between a cast behind the pixels and at the end."""
    graph = model.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT and weight.name != "full":
            half = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(half, weight.name))
    renamed = {"graph/Mul": "graph/half", "score_logit": "score_logit.half"}
    nodes = []
    for node in graph.node:
        ends = [name for name in node.output if name in ("anomaly_map", "score_logit", "score")]
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [f"{name}.half" if name in ends else name for name in node.output]
        nodes.append(node)
        if node.name == "graph/Mul":
            nodes.append(cast("graph/Mul", "graph/half", TensorProto.FLOAT16))
        nodes += [cast(f"{name}.half", name, TensorProto.FLOAT) for name in ends]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    return onnx.shape_inference.infer_shapes(model, check_type=True)


def cast(source, target, kind):
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)


def test_half_precision_stays_half_around_it(model, tmp_path, images):
    onnx.save(in_half(model), tmp_path / "half.onnx")
    write_int8(tmp_path / "half.onnx", tmp_path / "b.onnx", all_schemes(model))
    graph = onnx.load(tmp_path / "b.onnx").graph
    scales = [w.data_type for w in graph.initializer if w.name.endswith(".scale")]
    assert scales == [TensorProto.FLOAT16] * 11
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    made = [node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert {types[name] for name in made} == {TensorProto.FLOAT16}
    maps = [
        ort.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"]).run(
            ["anomaly_map"], {"image": np.stack(images)}
        )[0]
        for name in ("half.onnx", "b.onnx")
    ]
    assert 0 < np.abs(maps[1] - maps[0]).max() < 0.2


def test_large_weights_go_to_a_file_beside(model, path, tmp_path, monkeypatch):
    monkeypatch.setattr("zsad_calibration.int8.store.INLINE_BYTES", 64)
    data = write_int8(path, tmp_path / "b.onnx", all_schemes(model), external_data_bytes=100)
    assert data == "b.onnx.data" and (tmp_path / data).is_file()
    ort.InferenceSession(tmp_path / "b.onnx", providers=["CPUExecutionProvider"])


def test_layers_that_are_not_named_stay_as_they_are(model, path, tmp_path):
    write_int8(path, tmp_path / "b.onnx", all_schemes(model)[:1])
    before, after = stored(model), stored(onnx.load(tmp_path / "b.onnx"))
    changed = before.keys() - after.keys()
    assert changed == {"detector.vision.blocks.0/MatMul.constant1"}
