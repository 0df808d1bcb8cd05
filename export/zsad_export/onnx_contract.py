"""What every exported graph must be, checked on the file that was written."""

from __future__ import annotations

from collections import Counter

import onnx
from onnx import TensorProto

from zsad.errors import ParityError
from zsad_export.graph import input_specs, output_specs
from zsad_export.graph_names import INPUT

MAX_OPSET = 20
MAX_IR = 10

WEIGHTS_HASH = "zsad.weights_sha256"
"""The only metadata a graph carries, where its weights are in a file of their own."""

_DType = TensorProto.DataType
_TYPES = {"uint8": _DType.UINT8, "float32": _DType.FLOAT}


def check_model(
    model: onnx.ModelProto,
    image_hw: tuple[int, int],
    *,
    layer_norms: int,
    table_width: int | None = None,
) -> None:
    """Hold a written model against the graph contract; its weights need not be loaded.

    Args:
        model: The model as read back from its file.
        image_hw: Rows and columns of its input.
        layer_norms: LayerNorm calls of the PyTorch graph; each must be one node, since TensorRT
            only protects the ones it recognises from overflowing in half precision.
        table_width: Columns of the text table where text is an input.

    Raises:
        ParityError: The model breaks the contract; the line names how.
    """
    faults = (
        *_format_faults(model),
        *_interface_faults(model.graph, image_hw, table_width),
        *_operator_faults(model.graph, layer_norms),
    )
    if faults:
        raise ParityError(f"the exported graph breaks its contract: {'; '.join(faults)}")


def _format_faults(model: onnx.ModelProto) -> list[str]:
    faults = []
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if set(opsets) != {"ai.onnx"} or opsets["ai.onnx"] > MAX_OPSET:
        faults.append(f"opsets {opsets}, only ai.onnx up to {MAX_OPSET} is read everywhere")
    if model.ir_version > MAX_IR:
        faults.append(f"ONNX IR {model.ir_version}, limit {MAX_IR}")
    if model.functions:
        faults.append(f"{len(model.functions)} local functions")
    noted = [model.graph, *model.graph.node, *model.graph.value_info]
    extra = {entry.key for entry in model.metadata_props} - {WEIGHTS_HASH}
    if extra or any(part.metadata_props or part.doc_string for part in noted):
        faults.append("metadata of the exporting machine")
    return faults


def _interface_faults(
    graph: onnx.GraphProto, image_hw: tuple[int, int], table_width: int | None
) -> list[str]:
    specs = (*input_specs(image_hw, table_width), *output_specs(image_hw, table_width))
    expected = {spec.name: (_TYPES[spec.dtype], spec.shape) for spec in specs}
    found = {value.name: _signature(value) for value in (*graph.input, *graph.output)}
    return [
        f"'{name}' is {_text(found.get(name))}, not {_text(expected.get(name))}"
        for name in dict.fromkeys((*expected, *found))
        if found.get(name) != expected.get(name)
    ]


def _signature(value: onnx.ValueInfoProto) -> tuple[int, tuple[int | str, ...]]:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    return tensor.elem_type, shape


def _text(signature: tuple[int, tuple[int | str, ...]] | None) -> str:
    if signature is None:
        return "nothing"
    return f"{_DType.Name(signature[0]).lower()}{list(signature[1])}"


def _operator_faults(graph: onnx.GraphProto, layer_norms: int) -> list[str]:
    faults = []
    counts = Counter(node.op_type for node in graph.node)
    if counts["LayerNormalization"] != layer_norms:
        faults.append(
            f"{counts['LayerNormalization']} LayerNormalization nodes for {layer_norms} LayerNorms"
        )
    if counts["Resize"]:
        faults.append("a Resize node: engines differ in how they sample")
    on_bytes = {node.op_type for node in graph.node if INPUT in node.input} - {"Cast", "Shape"}
    if on_bytes:
        faults.append(f"{', '.join(sorted(on_bytes))} on uint8 pixels: only Cast compiles")
    return faults
