import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import roofline
from roofline import graph_flop, measure_roof, operator_flop, rate


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "flop"),
    [
        ("MatMul", [(5, 7), (7, 3)], [(5, 3)], 2 * 5 * 7 * 3),
        ("MatMul", [(2, 4, 5, 7), (2, 4, 7, 3)], [(2, 4, 5, 3)], 2 * 8 * 5 * 7 * 3),
        ("Gemm", [(5, 7), (3, 7), (3,)], [(5, 3)], 2 * 5 * 7 * 3),
        ("Gemm", [(7, 5), (7, 3)], [(5, 3)], 2 * 5 * 7 * 3),
        ("Conv", [(1, 3, 32, 32), (16, 3, 8, 8)], [(1, 16, 4, 4)], 2 * 16 * 16 * 3 * 64),
        ("Softmax", [(5, 7)], [(5, 7)], 0),
    ],
)
def test_operations_are_counted_as_by_hand(op, inputs, outputs, flop):
    assert operator_flop(op, inputs, outputs) == flop


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
        assert graph_flop(tmp_path / "m.onnx", feeds) == batch * one
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"], "the profile is gone"


def test_the_rate_is_that_of_the_fastest_product(monkeypatch):
    # Read for the deadline, then before, at the start and at the end of each run: 4 s and 1 s.
    ticks = iter([0, *(0, 0, 4), *(4, 4, 5), 99])
    monkeypatch.setattr(roofline, "SECONDS_PER_SHAPE", 50)
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(ticks))
    calls = []
    assert rate(lambda: calls.append(1), 10, 10, 10) == pytest.approx(2000 / 1e9)
    assert len(calls) == 3, "the first is for warm-up"


def test_the_roof_is_the_best_of_what_was_tried(monkeypatch):
    monkeypatch.setattr(roofline, "SHAPES", ((32, 32, 32), (64, 64, 64)))
    monkeypatch.setattr(roofline, "SECONDS_PER_SHAPE", 0.01)
    monkeypatch.setattr(roofline.importlib.util, "find_spec", lambda name: name == "onnx" or None)
    roof = measure_roof(on_gpu=False, half=False, threads=1)
    assert {name.split()[0] for name in roof.tried} == {"numpy", "onnxruntime"}
    assert roof.gflop_per_s == max(roof.tried.values()) == roof.tried[roof.by] > 0


def test_a_gpu_without_torch_has_no_roof(monkeypatch):
    monkeypatch.setattr(roofline.importlib.util, "find_spec", lambda name: None)
    assert measure_roof(on_gpu=True, half=True, threads=None) is None
