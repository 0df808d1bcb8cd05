"""Precision as the ONNX file states it: which operators compute in what."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import onnx
from onnx import TensorProto

from zsad.errors import ParityError
from zsad_export.float_islands import ComputeTypes, FloatType, Op, classify_compute
from zsad_export.graph_names import HALF, INT8, GraphPrecision
from zsad_export.int8_types import check_int8

COMPUTE_OPS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "Attention"})

MAX_HEAD_SHARE = 0.05
"""Largest share of the weights that a half-precision graph may multiply by in float32."""

_FLOATS: dict[int, FloatType] = {
    TensorProto.DataType.FLOAT: "float32",
    TensorProto.DataType.FLOAT16: "float16",
}


def tensor_types(graph: onnx.GraphProto) -> dict[str, FloatType]:
    """Return the type of every tensor of a graph, initializers included."""
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {v.name: _FLOATS.get(v.type.tensor_type.elem_type, "other") for v in values}
    types.update({w.name: _FLOATS.get(w.data_type, "other") for w in graph.initializer})
    return types


def compute_types(graph: onnx.GraphProto) -> ComputeTypes:
    """Sort the operators that multiply matrices or convolve by the type they compute in."""
    ops = [
        Op(node.name, node.op_type in COMPUTE_OPS, tuple(node.input), tuple(node.output))
        for node in graph.node
    ]
    return classify_compute(ops, tensor_types(graph))


def check_precision(
    path: Path, precision: GraphPrecision, float32: Collection[str] = ()
) -> ComputeTypes:
    """Hold the types in an ONNX file against the precision it is sold as.

    Args:
        path: The ONNX file.
        precision: What it is sold as.
        float32: Modules that a half-precision graph is to compute in float32.

    Raises:
        ParityError: A tensor has no type, a float32 graph computes in half precision, a
            half-precision graph computes in float32 outside its similarity head and `float32`, or
            in an INT8 graph something else than whole linears reads INT8.
    """
    graph = onnx.load(str(path), load_external_data=False).graph
    _check_complete(graph, path)
    found = compute_types(graph)
    if precision not in HALF and found.half:
        raise ParityError(
            f"{path.name} is to be {precision} but '{found.half[0]}' computes in fp16"
        )
    if precision in HALF:
        _check_half(graph, found, path, float32)
    if precision in INT8:
        check_int8(graph, path)
    return found


def _check_complete(graph: onnx.GraphProto, path: Path) -> None:
    types = tensor_types(graph)
    for node in graph.node:
        if untyped := [name for name in node.output if name and name not in types]:
            raise ParityError(f"{path.name} does not state the type of tensor '{untyped[0]}'")


def _check_half(
    graph: onnx.GraphProto, found: ComputeTypes, path: Path, float32: Collection[str]
) -> None:
    if not found.half:
        raise ParityError(f"{path.name} is to be fp16 but nothing in it computes in fp16")
    if strays := found.strays(float32):
        raise ParityError(
            f"{path.name} is to be fp16 but {len(strays)} operators before its head "
            f"compute in fp32, the first is '{strays[0]}'"
        )
    share = _float32_share(graph, found)
    if share > MAX_HEAD_SHARE:
        raise ParityError(
            f"{path.name} is to be fp16 but multiplies by {share:.0%} of its weights in fp32, "
            f"from '{found.head[0]}' on; the similarity head alone is below {MAX_HEAD_SHARE:.0%}"
        )


def _float32_share(graph: onnx.GraphProto, found: ComputeTypes) -> float:
    sizes = {w.name: _count(w) for w in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            sizes[node.output[0]] = sizes.get(node.input[0], 0)
    weights = {
        node.name: sum(sizes.get(name, 0) for name in node.input)
        for node in graph.node
        if node.op_type in COMPUTE_OPS
    }
    total = sum(weights.values())
    return sum(weights[name] for name in found.head) / total if total else 0.0


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count
