"""The products whose best rate is the roof: one maker per library and number type.

A maker takes (rows, inner, columns) and returns something to call, and how many such products one
call does. Where a library compiles, weights are constants, as a model's are, and several products
follow each other, so that what enters and leaves them weighs little.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np

NumberType = Literal["float32", "bfloat16", "float16", "int8"]
Maker = Callable[[int, int, int], tuple[Callable[[], object], int]]

CHAIN = 4
"""Products in a compiled chain; even, so that what comes out has the shape of what goes in."""


def makers(number: NumberType, *, on_gpu: bool, threads: int | None) -> dict[str, Maker]:
    """Return the makers of what is installed, keyed by library.

    Args:
        number: What is multiplied.
        on_gpu: On the first CUDA device, which only torch can show, rather than the CPU.
        threads: Threads of the CPU; None leaves them to each library.
    """
    if on_gpu:
        return {"torch cuda": partial(_torch, number, "cuda")} if _has("torch") else {}
    found: dict[str, Maker] = {}
    if number == "float32":
        found["numpy"] = _numpy
    if _has("torch"):
        found["torch"] = partial(_torch, number, "cpu")
    if _has("onnx") and number in ("float32", "int8"):
        found["onnxruntime"] = partial(_onnxruntime, number, threads)
    if _has("onnx") and _has("openvino"):
        found["openvino"] = partial(_openvino, number, threads)
    return found


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _operands(rows: int, inner: int, columns: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((rows, inner), dtype=np.float32),
        rng.standard_normal((inner, columns), dtype=np.float32),
    )


def _numpy(rows: int, inner: int, columns: int) -> tuple[Callable[[], object], int]:
    a, b = _operands(rows, inner, columns)
    out = np.empty((rows, columns), np.float32)
    return lambda: np.matmul(a, b, out=out), 1


def _torch(
    number: NumberType, device: str, rows: int, inner: int, columns: int
) -> tuple[Callable[[], object], int]:
    import torch

    kind = getattr(torch, number)
    a, b = (torch.from_numpy(x).to(device).to(kind) for x in _operands(rows, inner, columns))
    multiply = torch._int_mm if number == "int8" else torch.mm
    if device == "cpu":
        return lambda: multiply(a, b), 1

    def product() -> None:
        # Engines use TF32 for FP32 graphs, so the roof must; eager keeps torch's own setting.
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        multiply(a, b)
        torch.set_float32_matmul_precision(before)
        torch.cuda.synchronize()

    return product, 1


def _onnxruntime(
    number: NumberType, threads: int | None, rows: int, inner: int, columns: int
) -> tuple[Callable[[], object], int]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    content = _chain(rows, inner, columns, number == "int8")
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feeds = {"x": _chain_input(rows, inner, number == "int8")}
    return lambda: session.run(None, feeds), CHAIN


def _openvino(
    number: NumberType, threads: int | None, rows: int, inner: int, columns: int
) -> tuple[Callable[[], object], int]:
    import openvino

    # Left alone it would compute float32 in bfloat16 wherever the CPU can.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if number == "bfloat16":
        config["INFERENCE_PRECISION_HINT"] = "bf16"
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    content = _chain(rows, inner, columns, number == "int8")
    request = openvino.compile_model(_read(content), "CPU", config).create_infer_request()
    feeds = {"x": _chain_input(rows, inner, number == "int8")}
    return lambda: request.infer(feeds), CHAIN


def _read(content: bytes) -> Any:
    import openvino

    return openvino.Core().read_model(content, b"")


def _chain_input(rows: int, inner: int, quantised: bool) -> Any:
    a, _ = _operands(rows, inner, 1)
    return np.clip(a * 32 + 64, 0, 255).astype(np.uint8) if quantised else a


def _chain(rows: int, inner: int, columns: int, quantised: bool) -> bytes:
    """Return a graph of `CHAIN` layers, there and back: (R, I) to (R, C) to (R, I) and so on."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], {"scale": np.float32(0.02), "zero": np.uint8(0)}
    steady = np.float32(1 / (np.sqrt(inner * columns)))
    name = "x"
    for index in range(CHAIN):
        shape = (inner, columns) if index % 2 == 0 else (columns, inner)
        _, weights = _operands(1, *shape)
        if not quantised:
            constants[f"w{index}"] = weights * steady**0.5
            nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"y{index}"]))
            name = f"y{index}"
            continue
        constants[f"q{index}"] = np.clip(weights * 32, -127, 127).astype(np.int8)
        constants[f"s{index}"] = np.float32(steady**0.5 / 32)
        nodes += [
            helper.make_node("DequantizeLinear", [name, "scale", "zero"], [f"x{index}"]),
            helper.make_node("DequantizeLinear", [f"q{index}", f"s{index}"], [f"w{index}"]),
            helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"p{index}"]),
            helper.make_node("QuantizeLinear", [f"p{index}", "scale", "zero"], [f"y{index}"]),
        ]
        name = f"y{index}"
    kind = TensorProto.UINT8 if quantised else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", kind, [rows, inner])],
        [helper.make_tensor_value_info(name, kind, [rows, inner])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, ir_version=8, opset_imports=opset).SerializeToString()
    return content
