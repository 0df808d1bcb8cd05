import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zsad.golden import GoldenFrame
from zsad_export.half_range import LIMIT, Magnitude, float32_modules, measure_half_range


@pytest.fixture
def write_chain(tmp_path):
    """image -> half -> times a -> times b -> output, with b a half-precision weight."""

    def write(a, b):
        nodes = [
            helper.make_node("Cast", ["image"], ["half"], to=TensorProto.FLOAT16),
            helper.make_node("Mul", ["half", "a"], ["layer/first"]),
            helper.make_node("Mul", ["layer/first", "b"], ["layer/second"]),
            helper.make_node("Cast", ["layer/second"], ["score"], to=TensorProto.FLOAT),
        ]
        shape = ["N", 2, 2, 3]
        inner = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT16, shape)
            for name in ("half", "layer/first", "layer/second")
        ]
        weights = [
            numpy_helper.from_array(np.array([value], dtype=np.float16), name)
            for name, value in (("a", a), ("b", b))
        ]
        graph = helper.make_graph(
            nodes,
            "chain",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)],
            weights,
            value_info=inner,
        )
        opset = helper.make_opsetid("", 20)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        onnx.save(model, tmp_path / "chain.onnx")
        return tmp_path / "chain.onnx"

    return write


def flat_frame(name, value):
    return GoldenFrame(name, np.full((2, 2, 3), value, dtype=np.uint8))


@pytest.fixture
def small_spec(spec):
    return type(spec)(2, 2)


FRAMES = (flat_frame("dark", 10), flat_frame("bright", 200))


def test_finds_the_largest_value_of_any_tensor_and_frame(write_chain, small_spec):
    found = measure_half_range(write_chain(-3, 0.5), FRAMES, small_spec)
    assert found.largest == 600
    assert found.first_over is None


def test_sees_an_overflow_that_a_later_factor_hides(write_chain, small_spec):
    # 200 * 400 is beyond half precision although the output, 200 * 400 / 1000, is not.
    found = measure_half_range(write_chain(400, 0.001), FRAMES, small_spec)
    assert found.largest > float(np.finfo(np.float16).max)
    assert (found.first_over.tensor, found.first_over.frame) == ("layer/first", "bright")


def test_names_the_cause_not_the_largest_consequence(write_chain, small_spec):
    found = measure_half_range(write_chain(100, 2), FRAMES, small_spec)
    assert found.largest == 40_000
    assert found.first_over == Magnitude(20_000, "layer/first", "bright")
    assert "'layer/first' reaches 2e+04 on bright" in found.first_over.describe()


def test_keeps_headroom_below_the_largest_half_number(write_chain, small_spec):
    found = measure_half_range(write_chain(100, 0.001), FRAMES, small_spec)
    assert LIMIT < found.largest == 20_000 < 65_504
    assert not found.first_over.fits


def test_looks_at_weights_too(write_chain, small_spec):
    found = measure_half_range(write_chain(0.001, 60_000), FRAMES[:1], small_spec)
    assert found.first_over == Magnitude(60_000, "b", "any frame")


def test_a_nan_does_not_fit():
    assert not Magnitude(float("nan"), "x", "frame").fits


MEASURE_LONG_CHAIN = """
import resource, sys
from pathlib import Path
import numpy as np
from zsad.preprocess import PreprocessSpec
from zsad.golden import GoldenFrame
from zsad_export.half_range import measure_half_range

frame = GoldenFrame("frame", np.full((512, 512, 3), 9, dtype=np.uint8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = measure_half_range(Path(sys.argv[1]), [frame], PreprocessSpec(512, 512))
assert found.largest == 9 + 200, found
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_looking_at_every_tensor_keeps_none_of_them(tmp_path):
    nodes = [helper.make_node("Cast", ["image"], ["t0"], to=TensorProto.FLOAT16)]
    nodes += [helper.make_node("Add", [f"t{i}", "one"], [f"t{i + 1}"]) for i in range(200)]
    nodes += [helper.make_node("Cast", ["t200"], ["score"], to=TensorProto.FLOAT)]
    shape = ["N", 512, 512, 3]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.ones(1, dtype=np.float16), "one")],
        value_info=[
            helper.make_tensor_value_info(f"t{i}", TensorProto.FLOAT16, shape) for i in range(201)
        ],
    )
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "m.onnx")
    result = subprocess.run(
        [sys.executable, "-c", MEASURE_LONG_CHAIN, tmp_path / "m.onnx"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 200e6  # all 200 tensors would be 300 MB in half, 600 MB in float


def test_leaves_no_copy_of_the_graph_behind(write_chain, small_spec):
    path = write_chain(1, 1)
    measure_half_range(path, FRAMES, small_spec)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.fixture
def write_stages(tmp_path):
    """image -> stage.0 times 400 -> stage.1 times `second` -> stage.2 times 1 -> score."""

    def write(kind, second):
        factors = (400, second, 1)
        nodes = [helper.make_node("Cast", ["image"], ["in"], to=kind, name="graph/Cast")]
        names = ["in", *(f"stage.{index}/Mul" for index in range(3))]
        for index, (source, written) in enumerate(pairwise(names)):
            nodes.append(helper.make_node("Mul", [source, f"w{index}"], [written], name=written))
        nodes.append(helper.make_node("Cast", [names[-1]], ["score"], to=1, name="graph/Cast_1"))
        shape, numpy_kind = ["N", 2, 2, 3], helper.tensor_dtype_to_np_dtype(kind)
        graph = helper.make_graph(
            nodes,
            "stages",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)],
            [
                numpy_helper.from_array(np.array([value], numpy_kind), f"w{index}")
                for index, value in enumerate(factors)
            ],
            value_info=[helper.make_tensor_value_info(name, kind, shape) for name in names],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        path = tmp_path / f"model.{numpy_kind}.onnx"
        onnx.save(model, path)
        return path

    return write


def found_modules(write_stages, small_spec, second, frames=FRAMES):
    paths = (write_stages(kind, second) for kind in (TensorProto.FLOAT16, TensorProto.FLOAT))
    return float32_modules(*paths, frames, small_spec)


def test_what_writes_and_what_reads_a_large_tensor_stays_in_float32(write_stages, small_spec):
    # 200 * 400 is out of range, 200 * 400 / 1000 is not.
    assert found_modules(write_stages, small_spec, 1e-3) == ("stage.0", "stage.1")


def test_a_large_stream_takes_all_that_it_passes_with_it(write_stages, small_spec):
    modules = found_modules(write_stages, small_spec, 1.0)
    assert modules == ("stage.0", "stage.1", "stage.2", "graph/")


def test_a_weight_that_vanishes_stays_in_float32(write_stages, small_spec):
    assert found_modules(write_stages, small_spec, 1e-7, FRAMES[:1]) == ("stage.1",)


def test_nothing_stays_in_float32_without_need(write_stages, small_spec):
    assert found_modules(write_stages, small_spec, 1.0, FRAMES[:1]) == ()
