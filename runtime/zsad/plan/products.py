"""How much arithmetic a graph holds, counted from the shapes that it really meets."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.backends.ort import import_onnxruntime
from zsad.errors import InferenceError, InputError
from zsad.types import Array

Shape = Sequence[int]


@dataclass(frozen=True)
class Product:
    """A matrix product (rows, inner) by (inner, columns), done so many times over.

    Attributes:
        times: Independent products: heads of attention, groups of a convolution.
        constant: Whether it may be a layer's weights that are multiplied with: one matrix for all
            rows.
    """

    rows: int
    inner: int
    columns: int
    times: int = 1
    constant: bool = True

    @property
    def flop(self) -> int:
        """Floating-point operations; a multiplication and an addition are two."""
        return 2 * self.rows * self.inner * self.columns * self.times


def graph_products(graph: Path, feeds: Mapping[str, Array]) -> tuple[Product, ...]:
    """Return every MatMul, Gemm and Conv of one run of an ONNX graph, in the order they ran.

    The graph runs once on the CPU, unoptimised and profiled. Softmax, LayerNormalization and the
    like are left out, as is usual.

    Args:
        graph: The ONNX file.
        feeds: Its inputs, with the batch in question.

    Raises:
        InputError: ONNX Runtime cannot load the graph.
        InferenceError: It cannot run it.
    """
    ort = import_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = _loaded(ort, graph, options)
        try:
            session.run(None, dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise InferenceError(f"{graph} fails on ONNX Runtime: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text())
    return tuple(profile_products(events))


def _loaded(ort: Any, graph: Path, options: Any) -> Any:
    try:
        return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise InputError(f"{graph} cannot be loaded ({error}): export it again") from None


def profile_products(events: Iterable[Mapping[str, Any]]) -> Iterable[Product]:
    """Give the products among the kernels of an ONNX Runtime profile."""
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            args = event["args"]
            inputs, outputs = (_shapes(args[k]) for k in ("input_type_shape", "output_type_shape"))
            product = operator_product(args["op_name"], inputs, outputs)
            if product is not None:
                yield product


def operator_product(op: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> Product | None:
    """Return the matrix product that one operator is, None for one that is none."""
    if op == "MatMul":
        # A profile leaves out weights that ONNX Runtime has packed for itself.
        return _matmul(inputs[0], inputs[1] if len(inputs) > 1 else None, outputs[0])
    if op == "Gemm":
        rows, columns = outputs[0]
        # Either operand may be transposed, the product of its sides stays.
        return Product(rows, math.prod(inputs[0]) // rows, columns)
    if op == "Conv":
        groups = inputs[0][1] // inputs[1][1]
        pixels = outputs[0][0] * math.prod(outputs[0][2:])
        return Product(pixels, math.prod(inputs[1][1:]), outputs[0][1] // groups, groups)
    return None


def _matmul(left: Shape, right: Shape | None, out: Shape) -> Product:
    size = math.prod(out)
    if right is None or len(right) <= 2:
        columns = 1 if right is not None and len(right) == 1 else out[-1]
        return Product(size // columns, left[-1], columns)
    columns, rows = out[-1], out[-2] if len(left) > 1 else 1
    return Product(rows, left[-1], columns, size // (rows * columns), constant=False)


def _shapes(entries: Iterable[Mapping[str, Shape]]) -> list[Shape]:
    return [shape for entry in entries for shape in entry.values()]
