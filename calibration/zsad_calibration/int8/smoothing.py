"""Moving outliers of activation channels into the weights behind a LayerNorm (SmoothQuant).

Each channel that a LayerNorm writes is divided by a factor and the weight's row multiplied by it:
the product is the same in exact arithmetic, but one scale per tensor then fits all channels
(Xiao et al. 2023, arXiv 2211.10438, equation 4).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from zsad.types import ArrayF32
from zsad_calibration.int8.linears import Linear
from zsad_calibration.int8.weights import inputs_first

_SUFFIX = ".smoothed"


def smoothable(graph: onnx.GraphProto, linear: Linear) -> bool:
    """Whether every activation of a linear comes from a LayerNorm that nothing else reads."""
    nodes = {call.node for call in linear.calls}
    tensors = {call.tensor for call in linear.calls}
    made = {name: node.op_type for node in graph.node for name in node.output}
    readers = {node.name for node in graph.node if tensors & set(node.input)}
    outputs = {value.name for value in graph.output}
    from_norms = all(made.get(tensor) == "LayerNormalization" for tensor in tensors)
    return from_norms and readers == nodes and not tensors & outputs


def smoothing_factors(channels: ArrayF32, weight: ArrayF32, alpha: float) -> ArrayF32:
    """Return what each channel is divided by, (in,) float32, with a geometric mean of 1.

    A common factor changes nothing that INT8 rounds, but could leave FP16's range.

    Args:
        channels: Largest magnitude of each channel of the activation, (in,).
        weight: (in, out).
        alpha: How much of the difficulty goes to the weight: 0 none, 1 all.
    """
    rows = np.abs(weight).max(axis=1).astype(np.float64)
    logs = np.zeros(len(rows))
    known = (channels > 0) & (rows > 0)  # a silent channel has nothing to move
    logs[known] = alpha * np.log(channels[known]) - (1 - alpha) * np.log(rows[known])
    logs[known] -= logs[known].mean() if known.any() else 0.0
    factors: ArrayF32 = np.exp(logs).astype(np.float32)
    return factors


def smooth(
    graph: onnx.GraphProto, linears: Mapping[str, Linear], factors: Mapping[str, ArrayF32]
) -> None:
    """Divide by `factors`, by layer, behind the LayerNorms and multiply them into the weights.

    Changed constants get new names, since untouched operators may share the old ones.
    """
    stored = {w.name: w for w in graph.initializer}
    for layer, factor in factors.items():
        linear = linears[layer]
        weight = numpy_helper.to_array(stored[linear.weight])
        wide = inputs_first(weight, linear.out_axis) * factor[:, None]
        moved = wide if linear.out_axis == 1 else wide.T
        _store(graph, linear.weight + _SUFFIX, moved, weight.dtype)
        calls = {call.node for call in linear.calls}
        tensors = {call.tensor for call in linear.calls}
        for node in graph.node:
            if node.name in calls:
                node.input[1] = linear.weight + _SUFFIX
            elif node.output and node.output[0] in tensors:
                _divide_norm(graph, node, stored, factor)
    drop_unused(graph)


def _divide_norm(
    graph: onnx.GraphProto,
    norm: onnx.NodeProto,
    stored: Mapping[str, onnx.TensorProto],
    factor: ArrayF32,
) -> None:
    for index in range(1, len(norm.input)):
        values = numpy_helper.to_array(stored[norm.input[index]])
        name = f"{norm.name}.{'gain' if index == 1 else 'bias'}{_SUFFIX}"
        _store(graph, name, values.astype(np.float32) / factor, values.dtype)
        norm.input[index] = name


def _store(graph: onnx.GraphProto, name: str, values: ArrayF32, dtype: np.dtype) -> None:
    tensor = numpy_helper.from_array(np.ascontiguousarray(values.astype(dtype)), name)
    graph.initializer.append(tensor)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the constants that no operator reads any more."""
    read = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]
