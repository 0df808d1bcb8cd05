"""Explicit INT8: QuantizeLinear and DequantizeLinear around the linears of an exported graph.

Symmetric everywhere, as TensorRT demands: weights as INT8 constants with one scale per output
channel, activations with one scale per tensor. Biases stay in floating point, since TensorRT
refuses a dequantized int32 bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zsad_calibration.int8.linears import Call, Linear, find_linears
from zsad_calibration.int8.scheme import Scheme
from zsad_calibration.int8.smoothing import drop_unused, smooth
from zsad_calibration.int8.store import EXTERNAL_DATA_BYTES, save_model
from zsad_calibration.int8.weights import Floats, quantize_weight, scale_of


def write_int8(
    source: Path,
    target: Path,
    schemes: Sequence[Scheme],
    external_data_bytes: int = EXTERNAL_DATA_BYTES,
) -> str | None:
    """Write the graph at `source` with the linears of `schemes` in INT8.

    Args:
        source: A float32 or float16 graph as `zsad-export` writes it; it is not changed.
        target: The file to write.
        schemes: How to quantize; linears that are not among them stay as they are.
        external_data_bytes: Weights larger than this together go to `<target>.data`.

    Returns:
        The name of the external weights file, None if the weights are inside the ONNX.
    """
    model = onnx.load(str(source))
    linears = {linear.layer: linear for linear in find_linears(model.graph)}
    factors = {s.layer: s.smoothing.factors for s in schemes if s.smoothing is not None}
    smooth(model.graph, linears, factors)
    quantize_graph(model.graph, schemes)
    data = save_model(model, target, external_data_bytes)
    onnx.checker.check_model(str(target))
    return data


def quantize_graph(graph: onnx.GraphProto, schemes: Iterable[Scheme]) -> None:
    """Put the linears of `schemes` between INT8 nodes; smoothing has been done."""
    linears = {linear.layer: linear for linear in find_linears(graph)}
    writer = _Writer(graph)
    uses = []
    for scheme in schemes:
        linear = linears[scheme.layer]
        weight = writer.weight(linear)
        uses += [(c, r, weight) for c, r in zip(linear.calls, scheme.ranges, strict=True)]
    # In graph order, for an activation is quantized before the first of those that read it.
    for call, largest, weight in sorted(uses, key=lambda use: writer.place(use[0])):
        writer.rewire(call, writer.activation(call, largest), weight)
    writer.finish()


class _Writer:
    """Collects new nodes by the node that they stand before."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.node}
        self._places = {name: place for place, name in enumerate(self._nodes)}
        self._stored = {w.name: w for w in graph.initializer}
        values = (*graph.value_info, *graph.input, *graph.output)
        self._types = {value.name: value.type.tensor_type for value in values}
        self._before: dict[str, list[onnx.NodeProto]] = {}
        self._made: dict[tuple[str, float], str] = {}

    def place(self, call: Call) -> int:
        """Return where a node stands in the graph."""
        return self._places[call.node]

    def weight(self, linear: Linear) -> str:
        """Store a weight as INT8 once and return what is dequantized from it."""
        values = numpy_helper.to_array(self._stored[linear.weight])
        int8 = quantize_weight(values, linear.out_axis)
        name = linear.weight
        self._constant(f"{name}.int8", int8.codes)
        inputs = [f"{name}.int8", *self._scale(name, int8.scales)]
        dims = list(values.shape)
        return self._dequantize(linear.calls[0].node, inputs, values.dtype, dims, linear.out_axis)

    def activation(self, call: Call, largest: float) -> str:
        """Quantize an activation and return what is dequantized from it."""
        key = call.tensor, largest
        if key not in self._made:
            kind = self._types[call.tensor]
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            dims = [_dimension(dim) for dim in kind.shape.dim]
            scale = self._scale(f"{call.tensor}.{len(self._made)}", scale_of(largest, dtype))
            codes = self._add(call.node, "QuantizeLinear", [call.tensor, *scale])
            self._note(codes, TensorProto.DataType.INT8, dims)
            inputs = [codes, *scale]
            self._made[key] = self._dequantize(call.node, inputs, dtype, dims)
        return self._made[key]

    def rewire(self, call: Call, activation: str, weight: str) -> None:
        """Let a node read the two in place of its own."""
        node = self._nodes[call.node]
        node.input[0], node.input[1] = activation, weight

    def finish(self) -> None:
        """Put the nodes in their places and drop the weights that they replace."""
        nodes = [
            node for old in self._graph.node for node in (*self._before.get(old.name, ()), old)
        ]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        drop_unused(self._graph)

    def _dequantize(
        self,
        before: str,
        inputs: list[str],
        dtype: np.dtype,
        dims: Sequence[int | str | None],
        axis: int | None = None,
    ) -> str:
        attributes = {} if axis is None else {"axis": axis}
        name = self._add(before, "DequantizeLinear", inputs, attributes)
        self._note(name, helper.np_dtype_to_tensor_dtype(dtype), dims)
        return name

    def _add(
        self, before: str, kind: str, inputs: list[str], attributes: Mapping[str, Any] | None = None
    ) -> str:
        base = f"{before.rpartition('/')[0]}/{kind}"
        name, count = base, 0
        while name in self._nodes:
            count += 1
            name = f"{base}_{count}"
        node = helper.make_node(kind, inputs, [name], name=name, **(attributes or {}))
        self._nodes[name] = node
        self._before.setdefault(before, []).append(node)
        return name

    def _scale(self, name: str, scales: Floats) -> list[str]:
        """Store scales, and zero points of 0, without which the codes would be uint8."""
        self._constant(f"{name}.scale", scales)
        self._constant(f"{name}.zero", np.zeros(scales.shape, np.int8))
        return [f"{name}.scale", f"{name}.zero"]

    def _constant(self, name: str, values: Floats | np.ndarray) -> None:
        self._graph.initializer.append(numpy_helper.from_array(values, name))

    def _note(self, name: str, kind: int, dims: Sequence[int | str | None]) -> None:
        self._graph.value_info.append(helper.make_tensor_value_info(name, kind, dims))


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    return dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
