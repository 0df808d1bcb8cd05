"""From a deployment graph to an ONNX file that every engine here can read.

Nodes and values are named after the module they come from (`detector.vision.blocks.3.mlp/Gelu`),
so that a compiler's message, a profile and the parity gate all speak the model's language.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from zsad.schema import sha256_file
from zsad.text_table import TEXT_TABLE
from zsad_calibration.int8.store import EXTERNAL_DATA_BYTES
from zsad_export.graph import DeploymentGraph, output_specs
from zsad_export.graph_names import BATCH, INPUT, ROWS, TYPES
from zsad_export.onnx_contract import WEIGHTS_HASH, check_model

OPSET = 20
"""The newest opset that TensorRT 10.3 (JetPack 6) and ONNX Runtime 1.23 read."""

SHARED_BYTES = 1024
"""From this size on equal weights are one; below it are the scalars and shapes of single nodes."""

_ROWS = "rows"
_SCOPES = "pkg.torch.onnx.name_scopes"


def export_onnx(
    graph: DeploymentGraph,
    image_hw: tuple[int, int],
    path: Path,
    *,
    external_data_bytes: int = EXTERNAL_DATA_BYTES,
    table_width: int | None = None,
) -> str | None:
    """Write `graph` to `path` as ONNX, checked against the graph contract.

    Args:
        graph: The graph, on the CPU.
        image_hw: Rows and columns of its input.
        path: The file to write; the caller owns the folder and its clean-up.
        external_data_bytes: Weights larger than this together go to `<path>.data`.
        table_width: Columns of the text table, where text is an input of the graph.

    Returns:
        The name of the external weights file, None if the weights are inside the ONNX.

    Raises:
        ParityError: The exporter wrote a graph that breaks the contract.
    """
    program = _export_graph(graph, image_hw, table_width)
    _name_types(program.model.graph)
    norms, data = _write(program, path, external_data_bytes)
    del program
    written = onnx.load(str(path), load_external_data=False)
    check_model(written, image_hw, layer_norms=norms, table_width=table_width)
    return data


def export_encoder(encoder: nn.Module, context: int, path: Path) -> str | None:
    """Write what encodes the words of a text table, token ids (K, context) int64 to rows (K, D).

    Returns:
        The name of the external weights file, None if the weights are inside the ONNX.
    """
    program = _run_exporter(
        encoder,
        (torch.zeros((2, context), dtype=torch.int64),),
        inputs=["token_ids"],
        outputs=["rows"],
        dynamic={"token_ids": {0: torch.export.Dim(TYPES)}},
    )
    _, data = _write(program, path, EXTERNAL_DATA_BYTES)
    return data


def _write(
    program: torch.onnx.ONNXProgram, path: Path, external_data_bytes: int
) -> tuple[int, str | None]:
    """Return the LayerNorm calls that were traced, and the external weights file, if any."""
    model, traced = program.model, program.exported_program
    assert traced is not None
    norms = sum(n.target == torch.ops.aten.layer_norm.default for n in traced.graph.nodes)
    _fold_weights(model)
    _share_equal_weights(model.graph)
    _name_after_modules(model.graph)
    _strip_metadata(model)
    data = _save(model, path, external_data_bytes)
    onnx.checker.check_model(str(path))
    return norms, data


def _export_graph(
    graph: DeploymentGraph, image_hw: tuple[int, int], table_width: int | None
) -> torch.onnx.ONNXProgram:
    # Two images: torch.export would take a batch of one for a constant.
    example: tuple[Tensor, ...] = (torch.zeros((2, *image_hw, 3), dtype=torch.uint8),)
    dynamic = {INPUT: {0: torch.export.Dim(BATCH)}}
    if table_width is not None:
        example += (torch.ones(4, table_width),)
        dynamic[TEXT_TABLE] = {0: torch.export.Dim(_ROWS, min=2)}
    outputs = [spec.name for spec in output_specs(image_hw, table_width)]
    return _run_exporter(graph, example, list(dynamic), outputs, dynamic)


def _run_exporter(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, Any],
) -> torch.onnx.ONNXProgram:
    program = torch.onnx.export(
        module,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=dynamic,
        verbose=False,
    )
    assert program is not None
    return program


def _name_types(graph: ir.Graph) -> None:
    """Name the dimensions of the contract, which torch only takes as Python's names."""
    names = {_ROWS: ROWS, f"{_ROWS} - 1": TYPES}
    for value in (*graph.inputs, *graph.outputs):
        if value.shape is not None:
            dims = [
                d if isinstance(d, int) else names.get(str(d.value), d.value) for d in value.shape
            ]
            value.shape = ir.Shape(dims)


def _fold_weights(model: ir.Model) -> None:
    """Store weights as they are multiplied by, where the exporter left a Slice or Transpose.

    It folds large weights only where one node reads them: not those of blocks that windows run
    through, too, whose readers it joins later, nor a packed projection that is read in parts. One
    that is read whole as well, as by EntroAD's other branch, is stored both ways.
    """
    fold_constants(model, should_fold=lambda node: node.op_type in ("Slice", "Transpose"))
    RemoveUnusedNodesPass()(model)


def _share_equal_weights(graph: ir.Graph) -> None:
    """Keep one of each weight: a module that runs twice gets a folded copy of its own each time."""
    first: dict[tuple[object, ...], ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        weight = value.const_value
        if weight is None or weight.nbytes < SHARED_BYTES:
            continue
        digest = hashlib.sha256(weight.tobytes()).digest()
        kept = first.setdefault((weight.dtype, tuple(weight.shape), digest), value)
        if kept is not value:
            ir.convenience.replace_all_uses_with(value, kept)
            del graph.initializers[name]


def _save(model: ir.Model, path: Path, external_data_bytes: int) -> str | None:
    weights = (v.const_value for v in model.graph.initializers.values())
    total = sum(w.nbytes for w in weights if w is not None)
    data = f"{path.name}.data" if total > external_data_bytes else None
    ir.save(model, path, external_data=data)
    if data is not None:
        note_weights_hash(path, path.with_name(data))
    return data


def note_weights_hash(path: Path, data: Path) -> None:
    """Write the weights' hash into the ONNX, so that its own hash stands for both files."""
    model = onnx.load(str(path), load_external_data=False)
    model.metadata_props.add(key=WEIGHTS_HASH, value=sha256_file(data))
    onnx.save(model, str(path))


def _name_after_modules(graph: ir.Graph) -> None:
    homes = _homes(graph)
    seen: Counter[str] = Counter()
    outputs = set(graph.outputs)
    for node in graph:
        base = f"{homes[node]}/{node.op_type}"
        node.name = f"{base}_{seen[base]}" if seen[base] else base
        seen[base] += 1
        for index, value in enumerate(node.outputs):
            if value not in outputs:
                value.name = f"{node.name}:{index}" if index else node.name
    for value, consumer, index in _anonymous_initializers(graph):
        value.name = f"{consumer}.constant{index}"


def _homes(graph: ir.Graph) -> dict[ir.Node, str]:
    """Return the module each node belongs to.

    A tower that walks through its blocks itself has all the attention in its own scope; such a
    node belongs to the block whose layer ran last: `detector.vision.blocks.3`.
    """
    homes: dict[ir.Node, str] = {}
    block: dict[str, str] = {}
    for node in graph:
        scope = _scope(node)
        if scope is None:  # made by an optimisation: it belongs where its input comes from
            producer = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
            homes[node] = homes.get(producer, "graph") if producer else "graph"
            continue
        homes[node] = block.get(scope, scope) or "graph"
        parts = scope.split(".")
        for cut in range(len(parts)):
            owner, below = ".".join(parts[:cut]), parts[cut:]
            in_block = len(below) > 2 and below[1].isdecimal()
            block[owner] = ".".join(parts[: cut + 2]) if in_block else owner
    return homes


def _scope(node: ir.Node) -> str | None:
    """Return the path of the module that a node was traced in, None if it was made later."""
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    inner = scopes[-2] if len(scopes) > 1 else None
    return None if inner is None or inner.startswith("_empty_nn_module_stack") else str(inner)


def _anonymous_initializers(graph: ir.Graph) -> Iterator[tuple[ir.Value, str, int]]:
    for value in list(graph.initializers.values()):
        uses = value.uses()
        if uses and "." not in str(value.name):
            node, index = next(iter(uses))
            yield value, str(node.name), index


def _strip_metadata(model: ir.Model) -> None:
    """Drop what the exporter notes about its own machine: paths, stack traces, signatures."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.doc_string = model.graph.doc_string = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        if value.const_value is not None:
            value.const_value.metadata_props.clear()
