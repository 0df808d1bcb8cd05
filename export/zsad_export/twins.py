"""Is a half-precision graph the float32 graph and nothing else?

Both are exported from one model, so they have the same nodes by the same names, wired alike, and
the weights of one are those of the other, rounded. Where that holds, the half graph can only differ
by rounding, and a fault too small to be told from rounding in its outputs is found and named: an
epsilon that vanishes, a weight of another layer, an operator that somebody put in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from zsad.types import Array

KEPT = 2.0**-9
"""Share of a weight's largest value that rounding may take from any of its values. It is exceeded
only where the weight as a whole is so small that half precision has few digits left for it."""

_CASTS = ("Cast", "Identity")


def twin_fault(half: Path, exact: Path) -> str | None:
    """Return the first thing in graph order that a half-precision graph and its twin differ in.

    Casts do not count, nor do weights and values that stay in float32.

    Args:
        half: The half-precision graph.
        exact: The float32 graph of the same model.
    """
    return next(_Pair(_load(half), _load(exact)).faults(), None)


def vanishing(half: Path, exact: Path) -> tuple[str, ...]:
    """Return the nodes whose weights are too small for half precision, by name.

    Args:
        half: The half-precision graph.
        exact: The float32 graph of the same model.
    """
    return tuple(_Pair(_load(half), _load(exact)).vanishing())


def _load(path: Path) -> onnx.GraphProto:
    return onnx.load(str(path)).graph


class _Side:
    """One graph, with casts out of the way."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = {node.name: node for node in graph.node if node.op_type not in _CASTS}
        self._weights = {w.name: w for w in graph.initializer}
        casts = (node for node in graph.node if node.op_type in _CASTS)
        self._cast_of = {node.output[0]: node.input[0] for node in casts}

    def source(self, name: str) -> str:
        """Return the tensor behind a chain of casts."""
        while name in self._cast_of:
            name = self._cast_of[name]
        return name

    def weight(self, name: str) -> Array | None:
        """Return the values of a tensor that is a constant."""
        found = self._weights.get(self.source(name))
        return None if found is None else numpy_helper.to_array(found)


class _Pair:
    """A half-precision graph and its twin."""

    def __init__(self, half: onnx.GraphProto, exact: onnx.GraphProto) -> None:
        self._half, self._exact = _Side(half), _Side(exact)

    def faults(self) -> Iterator[str]:
        """Give every difference in graph order, as text."""
        for name, node in self._half.nodes.items():
            twin = self._exact.nodes.get(name)
            if twin is None:
                yield f"'{name}' ({node.op_type}) is not in the float32 graph"
            elif not _same_kind(node, twin):
                yield f"'{name}' is another operator, or has other attributes, than in float32"
            else:
                yield from self._input_faults(node, twin)
        for name in self._exact.nodes:
            if name not in self._half.nodes:
                yield f"'{name}' of the float32 graph is missing"

    def vanishing(self) -> Iterator[str]:
        """Give the nodes that read a weight which half precision does not hold."""
        for name, node in self._half.nodes.items():
            twin = self._exact.nodes.get(name)
            inputs = () if twin is None else zip(node.input, twin.input, strict=False)
            for ours, theirs in inputs:
                values, expected = self._half.weight(ours), self._exact.weight(theirs)
                if values is not None and expected is not None and _is_lost(values, expected):
                    yield name
                    break

    def _input_faults(self, node: NodeProto, twin: NodeProto) -> Iterator[str]:
        if len(node.input) != len(twin.input):
            yield f"'{node.name}' reads {len(node.input)} tensors, in float32 {len(twin.input)}"
            return
        for ours, theirs in zip(node.input, twin.input, strict=True):
            values, expected = self._half.weight(ours), self._exact.weight(theirs)
            if values is None or expected is None:
                if self._half.source(ours) != self._exact.source(theirs):
                    yield f"'{node.name}' reads '{ours}', in float32 '{theirs}'"
            elif not _is_rounding(values, expected):
                yield f"'{node.name}' has other weights than in float32: '{ours}'"
            elif _is_lost(values, expected):
                yield f"'{node.name}' has weights that vanish in half precision: '{ours}'"


def _same_kind(node: NodeProto, twin: NodeProto) -> bool:
    ours, theirs = (
        sorted(attribute.SerializeToString() for attribute in each.attribute)
        for each in (node, twin)
    )
    return node.op_type == twin.op_type and ours == theirs


def _is_rounding(values: Array, expected: Array) -> bool:
    """Whether all values are the nearest half-precision numbers, in either type, or unrounded."""
    if values.shape != expected.shape:
        return False
    if np.array_equal(values, expected, equal_nan=expected.dtype.kind == "f"):
        return True
    if expected.dtype != np.float32:
        return False
    with np.errstate(over="ignore"):
        rounded = expected.astype(np.float16)
    return np.array_equal(values.astype(np.float32), rounded.astype(np.float32), equal_nan=True)


def _is_lost(values: Array, expected: Array) -> bool:
    if values.dtype != np.float16 or not expected.size:
        return False
    wide = expected.astype(np.float64)
    error = float(np.abs(values.astype(np.float64) - wide).max())
    return error > KEPT * float(np.abs(wide).max())
