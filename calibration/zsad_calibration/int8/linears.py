"""Which operators INT8 is for: the linears of the transformer blocks, by the model's own names.

Everything else stays in floating point: attention products, residual stream, LayerNorm, patch
embedding, similarity head. Only products with a constant matrix inside a block are taken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

_BLOCK = re.compile(r"^(?:detector\.)?(.*\bblocks\.\d+)(?=\.|$)")
_ROOT = "detector."
_FLOATS = (TensorProto.DataType.FLOAT, TensorProto.DataType.FLOAT16)


@dataclass(frozen=True)
class Call:
    """One use of a linear: its node, and the activation that the node multiplies."""

    node: str
    tensor: str


@dataclass(frozen=True)
class Linear:
    """A weight that activations are multiplied by, however often.

    Attributes:
        layer: The module's path, for example `vision.blocks.3.mlp.c_fc`; the packed projection of
            an attention is `vision.blocks.3.attn.in_proj`.
        block: The block it belongs to, for example `vision.blocks.3`.
        weight: Name of the initializer, (in, out) or (out, in).
        out_axis: The axis of the weight that runs over output channels.
        size: Number of its values.
        calls: Every use, in graph order: V-V attention uses an output projection twice.
    """

    layer: str
    block: str
    weight: str
    out_axis: int
    size: int
    calls: tuple[Call, ...]


def find_linears(graph: onnx.GraphProto) -> tuple[Linear, ...]:
    """Return the linears of the blocks, in graph order; the weights need not be loaded."""
    weights = {w.name: w for w in graph.initializer if _is_matrix(w)}
    homes = {node.name.rpartition("/")[0] for node in graph.node}
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if _is_linear(node, weights) and _block_of(node) is not None:
            nodes.setdefault(node.input[1], []).append(node)
    seen: Counter[str] = Counter()
    found = []
    for name, uses in nodes.items():
        path = _module(uses[0], homes)
        seen[path] += 1
        layer = path if seen[path] == 1 else f"{path}:{seen[path] - 1}"
        found.append(_linear(layer, weights[name], uses))
    return tuple(found)


def _linear(layer: str, weight: onnx.TensorProto, uses: list[onnx.NodeProto]) -> Linear:
    return Linear(
        layer=layer,
        block=_block_of(uses[0]) or layer,
        weight=weight.name,
        out_axis=_out_axis(uses[0]),
        size=weight.dims[0] * weight.dims[1],
        calls=tuple(Call(node.name, node.input[0]) for node in uses),
    )


def _is_matrix(tensor: onnx.TensorProto) -> bool:
    return len(tensor.dims) == 2 and tensor.data_type in _FLOATS


def _is_linear(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights:
        return False
    if node.input[0] in weights or _attribute(node, "transA"):
        return False
    # A projection after the last block runs in that block's scope, but has a name of its own.
    weight = node.input[1]
    owned = "." in weight and "/" not in weight
    return not owned or _BLOCK.match(weight) is not None


def _block_of(node: onnx.NodeProto) -> str | None:
    match = _BLOCK.match(node.name.rpartition("/")[0])
    return None if match is None else match.group(1)


def _module(node: onnx.NodeProto, homes: set[str]) -> str:
    home = node.name.rpartition("/")[0]
    holds_modules = any(other.startswith(f"{home}.") for other in homes)
    path = home.removeprefix(_ROOT)
    # The tower multiplies by the packed projection itself; all other linears are modules.
    return f"{path}.attn.in_proj" if holds_modules else path


def _out_axis(node: onnx.NodeProto) -> int:
    return 0 if _attribute(node, "transB") else 1


def _attribute(node: onnx.NodeProto, name: str) -> int:
    values = (helper.get_attribute_value(a) for a in node.attribute if a.name == name)
    return int(next(values, 0))
