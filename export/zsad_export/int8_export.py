"""The INT8 graphs of an artifact: made from its float graphs, and held to the same gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from zsad.errors import ParityError
from zsad.golden import GoldenOutputs
from zsad.host import saturates_int8
from zsad.manifest import GraphFile
from zsad.parity import LIMITS, compare
from zsad.parity_record import ParityRecord
from zsad.schema import sha256_file, write_json
from zsad.types import ArrayF32, ImageU8
from zsad_calibration.int8.linears import Linear, find_linears
from zsad_calibration.int8.planning import plan_int8
from zsad_calibration.int8.qdq import write_int8
from zsad_calibration.int8.record import FILE, make_record
from zsad_calibration.int8.scheme import Scheme
from zsad_calibration.int8.sensitivity import (
    SWEEP_FRAMES,
    Sensitivity,
    keep_worst,
    run_outputs,
    sweep,
    written_int8,
)
from zsad_export.gate import Gate
from zsad_export.graph import table_width
from zsad_export.graph_names import FLOAT_OF, GraphPrecision
from zsad_export.int8_options import Calibration, Progress
from zsad_export.memory import release_memory
from zsad_export.onnx_contract import check_model
from zsad_export.onnx_export import OPSET, note_weights_hash
from zsad_export.onnx_types import check_precision
from zsad_export.replay import replay_onnx

CHECKED_FRAMES = 8
"""Of these, whose use of the ranges the gate measures."""


@dataclass(frozen=True)
class _Planned:
    """A float graph with what INT8 makes of it.

    Attributes:
        source: The float32 graph.
        linears: Its linears.
        schemes: One per linear.
        images: The calibration frames.
    """

    source: Path
    linears: tuple[Linear, ...]
    schemes: tuple[Scheme, ...]
    images: tuple[ImageU8, ...]

    def without(self, kept: frozenset[str]) -> list[Scheme]:
        """Return the schemes of all layers but those."""
        return [scheme for scheme in self.schemes if scheme.layer not in kept]


def write_int8_graphs(
    scratch: Path,
    precisions: Sequence[GraphPrecision],
    calibration: Calibration,
    gate: Gate,
    measured: Mapping[str, ParityRecord],
    progress: Progress,
) -> dict[GraphPrecision, tuple[GraphFile, ParityRecord]]:
    """Write the INT8 graphs beside the float ones, and `int8.json`.

    Args:
        scratch: The artifact's scratch directory, with its float graphs.
        precisions: `int8` from the float32 graph, `int8_fp16` from the float16 one.
        calibration: What they are made with.
        gate: What they are held against.
        measured: What the gate found of the float graphs.
        progress: Is told each step as it begins.

    Raises:
        InputError: The graph has no linears.
        ParityError: A graph is over the limits.
    """
    options = calibration.options
    if saturates_int8():
        progress("this processor has no VNNI: INT8 products may saturate in what follows")
    planned = _plan(scratch / "model.fp32.onnx", calibration.images, gate, progress)
    ranked: tuple[Sensitivity, ...] = ()
    if options.auto or options.sensitivity:
        ranked = _sweep(planned, gate, progress)
    kept = _keep(planned, ranked, gate, progress) if options.auto else frozenset[str]()
    record = make_record(
        planned.linears, planned.schemes, kept, calibration.source, len(planned.images), ranked
    )
    write_json(scratch / FILE, record)
    written: dict[GraphPrecision, tuple[GraphFile, ParityRecord]] = {}
    for precision in precisions:
        release_memory()
        progress(f"writing and checking the {precision} graph")
        schemes = planned.without(kept)
        float32 = measured[FLOAT_OF[precision]].float32
        graph, parity = _write(scratch, precision, schemes, gate, float32, calibration.images)
        evidence = "; ".join([parity.evidence, record.describe()])
        written[precision] = graph, dataclasses.replace(parity, evidence=evidence)
    return written


def _plan(source: Path, images: tuple[ImageU8, ...], gate: Gate, progress: Progress) -> _Planned:
    schemes = plan_int8(source, images, gate.constants, progress=progress)
    release_memory()
    linears = find_linears(onnx.load(str(source), load_external_data=False).graph)
    return _Planned(source, linears, schemes, images)


def _sweep(planned: _Planned, gate: Gate, progress: Progress) -> tuple[Sensitivity, ...]:
    images = planned.images[:SWEEP_FRAMES]
    return sweep(
        planned.source,
        planned.linears,
        planned.schemes,
        images,
        gate.constants,
        progress=progress,
    )


def _keep(
    planned: _Planned, ranked: Sequence[Sensitivity], gate: Gate, progress: Progress
) -> frozenset[str]:
    """Return the fewest of the worst layers whose staying in float keeps the limits."""
    images = planned.images[:SWEEP_FRAMES]
    exact = _as_golden(run_outputs(planned.source, images, gate.constants))
    names = [f"calibration frame {index}" for index in range(len(images))]

    def holds(kept: frozenset[str]) -> bool:
        schemes = planned.without(kept)
        if not schemes:
            return True
        with written_int8(planned.source, schemes) as path:
            golden = replay_onnx(path, gate.frames, gate.spec, gate.constants)
            found = _as_golden(run_outputs(path, images, gate.constants))
        limits = LIMITS["int8"]
        on_golden = compare([f.name for f in gate.frames], gate.reference, golden, limits)
        held = on_golden.passed and compare(names, exact, found, limits).passed
        verdict = "holds" if held else "is over"
        progress(f"  {len(kept)} linears in floating point {verdict} the limits")
        return held

    kept = keep_worst(ranked, holds)
    assert kept is not None, "the float graph itself has passed the gate"
    if len(kept) == len(planned.linears):
        raise ParityError(
            "no linear can be in INT8 within the limits: leave --int8 out, or use --fp16"
        )
    return kept


def _as_golden(outputs: Mapping[str, ArrayF32]) -> GoldenOutputs:
    return GoldenOutputs(outputs["score"], outputs["anomaly_map"])


def _write(
    scratch: Path,
    precision: GraphPrecision,
    schemes: Sequence[Scheme],
    gate: Gate,
    float32: Sequence[str],
    images: Sequence[ImageU8],
) -> tuple[GraphFile, ParityRecord]:
    source = scratch / f"model.{FLOAT_OF[precision]}.onnx"
    path = scratch / f"model.{precision}.onnx"
    data = write_int8(source, path, schemes)
    if data is not None:
        note_weights_hash(path, path.with_name(data))
    norms = _layer_norms(source)
    check_model(
        onnx.load(str(path), load_external_data=False),
        (gate.spec.height, gate.spec.width),
        layer_norms=norms,
        table_width=table_width(gate.constants),
    )
    check_precision(path, precision, float32)
    release_memory()
    calibrated = images[:CHECKED_FRAMES]
    record = gate.check(path, precision, float32=float32, calibrated=calibrated)
    return GraphFile(path.name, data, sha256_file(path), OPSET), record


def _layer_norms(path: Path) -> int:
    graph = onnx.load(str(path), load_external_data=False).graph
    return sum(node.op_type == "LayerNormalization" for node in graph.node)
