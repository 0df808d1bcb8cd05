"""INT8 as the ONNX file states it: which operators read INT8, and in what."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from zsad.errors import ParityError

LINEAR_OPS = frozenset({"MatMul", "Gemm"})


def int8_linears(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the names of the operators whose activation and weight both are INT8."""
    kinds = dequantized_kinds(graph)
    return tuple(
        node.name
        for node in graph.node
        if node.op_type in LINEAR_OPS
        and [kinds.get(name) for name in node.input[:2]] == [TensorProto.DataType.INT8] * 2
    )


def dequantized_kinds(graph: onnx.GraphProto) -> dict[str, int]:
    """Return, for every tensor that comes out of a DequantizeLinear, the type that goes in."""
    values = (*graph.input, *graph.value_info, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds.update({w.name: w.data_type for w in graph.initializer})
    return {
        node.output[0]: kinds.get(node.input[0], TensorProto.DataType.UNDEFINED)
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    }


def check_int8(graph: onnx.GraphProto, path: Path) -> None:
    """Hold a graph against what INT8 is for: linears, with both sides in it.

    Raises:
        ParityError: Nothing computes in INT8, something else than a linear does, or a linear has
            only one side in it.
    """
    linears = set(int8_linears(graph))
    if not linears:
        raise ParityError(f"{path.name} is to be int8 but no linear in it reads INT8")
    dequantized = dequantized_kinds(graph)
    for node in graph.node:
        reads = any(name in dequantized for name in node.input)
        if reads and node.name not in linears:
            raise ParityError(
                f"{path.name}: '{node.name}' ({node.op_type}) reads INT8, which is for linears "
                "with both sides in it"
            )
