"""How much arithmetic a graph holds, and how fast this machine multiplies matrices at best."""

from __future__ import annotations

import importlib.util
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Shape = Sequence[int]

SHAPES = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (577, 1024, 4096))
"""Rows, inner, columns; the last is a ViT-L MLP at 336 px."""

SECONDS_PER_SHAPE = 0.3


@dataclass(frozen=True)
class Roof:
    """The best rate met, in 10^9 floating-point operations (a multiply-add is two) per second."""

    gflop_per_s: float
    by: str
    tried: Mapping[str, float]


def graph_flop(graph: Path, feeds: Mapping[str, Any]) -> int:
    """Count the floating-point operations of one run of an ONNX graph.

    The graph runs once on the CPU, unoptimised and profiled, and every MatMul, Gemm and Conv is
    counted from the shapes it really met. Softmax, LayerNormalization and the like are left out, as
    is usual.

    Args:
        graph: The ONNX file.
        feeds: Its inputs, with the batch in question.
    """
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    return profile_flop(events)


def profile_flop(events: Iterable[Mapping[str, Any]]) -> int:
    """Sum the operations of the kernels in an ONNX Runtime profile."""
    total = 0
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            args = event["args"]
            inputs, outputs = (_shapes(args[k]) for k in ("input_type_shape", "output_type_shape"))
            total += operator_flop(args["op_name"], inputs, outputs)
    return total


def operator_flop(op: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Return the operations of one operator, 0 for one that is no matrix product."""
    if op == "MatMul":
        return 2 * math.prod(outputs[0]) * inputs[0][-1]
    if op == "Gemm":
        # Either operand may be transposed, the product of its sides stays.
        return 2 * math.prod(outputs[0]) * (math.prod(inputs[0]) // outputs[0][0])
    if op == "Conv":
        return 2 * math.prod(outputs[0]) * math.prod(inputs[1][1:])
    return 0


def measure_roof(on_gpu: bool, half: bool, threads: int | None) -> Roof | None:
    """Multiply matrices with everything installed and return the best rate, None without any.

    Args:
        on_gpu: Measure the first CUDA device, through torch, rather than the CPU.
        half: In float16, for a GPU only: CPUs run such graphs in float32.
        threads: Threads of the CPU; None leaves them to each library.
    """
    makers = _gpu_products(half) if on_gpu else _cpu_products(threads)
    tried = {
        f"{library} {rows}x{inner}x{columns}": rate(
            make(rows, inner, columns), rows, inner, columns
        )
        for library, make in makers.items()
        for rows, inner, columns in SHAPES
    }
    if not tried:
        return None
    best = max(tried, key=lambda name: tried[name])
    return Roof(tried[best], best, tried)


def rate(product: Callable[[], object], rows: int, inner: int, columns: int) -> float:
    """Return the best GFLOP/s of a product of (rows, inner) and (inner, columns)."""
    product()
    best, deadline = math.inf, time.perf_counter() + SECONDS_PER_SHAPE
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best / 1e9


Maker = Callable[[int, int, int], Callable[[], object]]


def _cpu_products(threads: int | None) -> dict[str, Maker]:
    makers: dict[str, Maker] = {"numpy": _numpy_product}
    if importlib.util.find_spec("torch") is not None:
        makers["torch"] = lambda *shape: _torch_product(*shape, device="cpu", half=False)
    if importlib.util.find_spec("onnx") is not None:
        makers["onnxruntime"] = lambda *shape: _ort_product(*shape, threads=threads)
    return makers


def _gpu_products(half: bool) -> dict[str, Maker]:
    if importlib.util.find_spec("torch") is None:
        return {}
    return {"torch cuda": lambda *shape: _torch_product(*shape, device="cuda", half=half)}


def _operands(rows: int, inner: int, columns: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((rows, inner), dtype=np.float32),
        rng.standard_normal((inner, columns), dtype=np.float32),
    )


def _numpy_product(rows: int, inner: int, columns: int) -> Callable[[], object]:
    a, b = _operands(rows, inner, columns)
    out = np.empty((rows, columns), np.float32)
    return lambda: np.matmul(a, b, out=out)


def _torch_product(
    rows: int, inner: int, columns: int, *, device: str, half: bool
) -> Callable[[], object]:
    import torch

    kind = torch.float16 if half else torch.float32
    a, b = (torch.from_numpy(x).to(device, kind) for x in _operands(rows, inner, columns))

    if device == "cpu":
        return lambda: torch.mm(a, b)

    def product() -> None:
        # Engines use TF32 for FP32 graphs, so the roof must; eager keeps torch's own setting.
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        torch.mm(a, b)
        torch.set_float32_matmul_precision(before)
        torch.cuda.synchronize()

    return product


def _ort_product(
    rows: int, inner: int, columns: int, *, threads: int | None
) -> Callable[[], object]:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    shapes = {"a": (rows, inner), "b": (inner, columns), "c": (rows, columns)}
    infos = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [infos["a"], infos["b"]], [infos["c"]])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opset)
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    content = model.SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    a, b = _operands(rows, inner, columns)
    return lambda: session.run(None, {"a": a, "b": b})


def _shapes(entries: Iterable[Mapping[str, Shape]]) -> list[Shape]:
    return [shape for entry in entries for shape in entry.values()]
