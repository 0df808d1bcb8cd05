"""The float graphs of an artifact: written, given what they must keep in float32, and checked."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from zsad.manifest import GraphFile
from zsad.parity_record import ParityRecord
from zsad.schema import sha256_file
from zsad_export.gate import Gate
from zsad_export.graph import DeploymentGraph, table_width
from zsad_export.graph_names import FloatPrecision
from zsad_export.memory import release_memory
from zsad_export.onnx_export import OPSET, export_onnx
from zsad_export.onnx_types import check_precision
from zsad_export.widen import Widener

MAX_ROUNDED = 4
"""Modules that stay in float32 for their rounding alone; a model that needs more is refused."""


def write_float_graph(
    scratch: Path, baked: nn.Module, precision: FloatPrecision, gate: Gate
) -> tuple[GraphFile, ParityRecord]:
    """Write the graph of `baked` and hold it against the reference.

    Args:
        scratch: The artifact's scratch directory; an FP16 graph finds the float32 one there.
        baked: The detector; an FP16 graph converts it in place.
        precision: What it computes in.
        gate: What it is held against.

    Raises:
        ParityError: The graph breaks the contract, or is over the limits.
    """
    path = scratch / f"model.{precision}.onnx"
    graph = DeploymentGraph(baked, gate.spec, precision)
    hw, width = (gate.spec.height, gate.spec.width), table_width(gate.constants)
    data = export_onnx(graph, hw, path, table_width=width)
    if precision == "fp16":
        record = _check_half(path, data, graph, gate)
    else:
        check_precision(path, precision)
        release_memory()
        record = gate.check(path, precision)
    return GraphFile(path.name, data, sha256_file(path), OPSET), record


def _check_half(path: Path, data: str | None, graph: DeploymentGraph, gate: Gate) -> ParityRecord:
    """Give the graph what it must keep in float32, and hold it against the reference."""
    exact = path.with_name("model.fp32.onnx")
    float32 = _keep_float32(path, exact, data, gate)
    # PyTorch in half precision has no such modules, so it would only repeat what was measured.
    half = None if float32 else gate.try_half(graph)
    release_memory()
    check_precision(path, "fp16", float32)
    return gate.check(path, "fp16", half, exact, float32)


def _keep_float32(path: Path, exact: Path, data: str | None, gate: Gate) -> tuple[str, ...]:
    """Keep in float32 what overflows or vanishes, then what rounds too much; return the modules."""
    float32 = gate.float32_modules(path, exact)
    widener = Widener(path, exact, data) if float32 else None
    if widener is not None:
        widener.keep(float32)
    for _ in range(MAX_ROUNDED):
        module = gate.rounded_module(path)
        if module is None or module in float32:
            break
        float32 = (*float32, module)
        widener = widener or Widener(path, exact, data)
        widener.keep(float32)
    return float32
