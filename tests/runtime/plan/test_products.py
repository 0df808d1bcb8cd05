import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zsad.errors import InferenceError, InputError
from zsad.plan.products import Product, graph_products, operator_product


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "flop"),
    [
        ("MatMul", [(5, 7), (7, 3)], [(5, 3)], 2 * 5 * 7 * 3),
        ("MatMul", [(2, 4, 5, 7), (2, 4, 7, 3)], [(2, 4, 5, 3)], 2 * 8 * 5 * 7 * 3),
        ("MatMul", [(2, 5, 7), (7,)], [(2, 5)], 2 * 10 * 7),
        ("MatMul", [(7,), (4, 7, 3)], [(4, 3)], 2 * 4 * 7 * 3),
        ("Gemm", [(5, 7), (3, 7), (3,)], [(5, 3)], 2 * 5 * 7 * 3),
        ("Gemm", [(7, 5), (7, 3)], [(5, 3)], 2 * 5 * 7 * 3),
        ("Conv", [(1, 3, 32, 32), (16, 3, 8, 8)], [(1, 16, 4, 4)], 2 * 16 * 16 * 3 * 64),
        ("Conv", [(1, 8, 9, 9), (8, 1, 3, 3)], [(1, 8, 9, 9)], 2 * 8 * 81 * 9),
    ],
)
def test_operations_are_counted_as_by_hand(op, inputs, outputs, flop):
    assert operator_product(op, inputs, outputs).flop == flop


def test_what_is_no_product_is_none():
    assert operator_product("Softmax", [(5, 7)], [(5, 7)]) is None


def test_a_layer_takes_all_rows_at_once_and_attention_does_not():
    packed_away, shown = [(2, 5, 7)], [(2, 5, 7), (7, 3)]
    for inputs in (packed_away, shown):
        assert operator_product("MatMul", inputs, [(2, 5, 3)]) == Product(10, 7, 3)
    heads = operator_product("MatMul", [(2, 4, 5, 7), (2, 4, 7, 5)], [(2, 4, 5, 5)])
    assert heads == Product(5, 7, 5, times=8, constant=False)


def test_a_graph_is_counted_at_the_batch_that_it_runs(tmp_path):
    weights = {
        "kernel": np.ones((4, 3, 2, 2), np.float32),
        "right": np.ones((16, 5), np.float32),
        "gemm": np.ones((6, 5), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["conv"], strides=[2, 2]),
        helper.make_node("Flatten", ["conv"], ["flat"]),
        helper.make_node("MatMul", ["flat", "right"], ["product"]),
        helper.make_node("Gemm", ["product", "gemm"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "m.onnx")
    one = 2 * (16 * 3 * 4 + 16 * 5 + 5 * 6)
    for batch in (1, 3):
        feeds = {"x": np.ones((batch, 3, 4, 4), np.float32)}
        products = graph_products(tmp_path / "m.onnx", feeds)
        assert sum(product.flop for product in products) == batch * one
    sides = [(p.rows, p.inner, p.columns) for p in products]
    assert sides == [(12, 12, 4), (3, 16, 5), (3, 5, 6)]
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"], "the profile is gone"


def test_a_graph_that_does_not_load_or_run_is_one_line(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match="cannot be loaded"):
        graph_products(path, {})
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    graph = helper.make_graph(
        [node],
        "impossible",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [7, "M"])],
        [numpy_helper.from_array(np.array([7, -1]), "shape")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, str(path))
    with pytest.raises(InferenceError, match="fails on ONNX Runtime"):
        graph_products(path, {"x": np.zeros(5, np.float32)})
