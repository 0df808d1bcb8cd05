"""The gate at the end of an export: a graph that is not its reference does not leave the house."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from zsad.errors import ParityError
from zsad.manifest import ParityRecord
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import Array
from zsad_export.golden import GoldenFrame, GoldenOutputs
from zsad_export.graph import DeploymentGraph
from zsad_export.graph_names import HALF, GraphPrecision
from zsad_export.half_range import HalfRange, measure_half_range
from zsad_export.layers import compare_layers, first_jump, trace_graph, trace_module
from zsad_export.memory import release_memory
from zsad_export.parity import LIMITS, Parity, compare
from zsad_export.reference import reference_input, run_graph_module
from zsad_export.replay import backend_name, replay_onnx

ROUNDING: Mapping[GraphPrecision, float] = {
    "fp32": 1e-4,
    "fp16": 5e-3,
    "int8": 5e-2,
    "int8_fp16": 5e-2,
}
"""Relative error of a layer that rounding alone explains; only used to find whom to blame."""

SLOW_PARAMETERS = 100_000_000
"""Above this, PyTorch's half precision on a CPU, a minute per frame, runs on one frame only."""


@dataclass(frozen=True)
class HalfEvidence:
    """How PyTorch's own half precision compares with the reference."""

    parity: Parity

    @property
    def faults(self) -> list[str]:
        """Return what is over the limits, as text."""
        if self.parity.passed:
            return []
        worst = self.parity.worst
        return [f"PyTorch in half precision, worst on {worst.name}: {worst.describe()}"]

    def describe(self) -> str:
        """Return the evidence as text."""
        frames = len(self.parity.frames)
        worst = max(frame.score_abs for frame in self.parity.frames)
        noun = "frame" if frames == 1 else "frames"
        return f"PyTorch half on CPU, {frames} {noun}: score off by {worst:.2g}"


@dataclass(frozen=True)
class Gate:
    """What every graph of one export is held against.

    Attributes:
        build: Makes the unbaked method again; only called to find the layer to blame, so that the
            method takes no memory while graphs are made.
        frames: The golden frames.
        reference: What the unbaked method made of them in float32.
        spec: The preprocessing.
        allow_loss: Record a graph that is over the limits instead of failing.
        constants: What the graph takes beside images.
    """

    build: Callable[[], nn.Module]
    frames: Sequence[GoldenFrame]
    reference: GoldenOutputs
    spec: PreprocessSpec
    allow_loss: bool = False
    constants: Mapping[str, Array] = field(default_factory=dict)

    def check(
        self, path: Path, precision: GraphPrecision, half: HalfEvidence | None = None
    ) -> ParityRecord:
        """Hold the graph at `path` against the reference.

        Args:
            path: The ONNX file.
            precision: Which limits apply.
            half: What PyTorch in half precision gave, for an FP16 graph.

        Raises:
            ParityError: A frame is over a limit, or an FP16 tensor comes near to overflowing; the
                line names the worst frame and the first layer that differs, or the tensor.
        """
        parity = self._compare(replay_onnx(path, self.frames, self.spec, self.constants), precision)
        faults = [] if parity.passed else [self._explain(path, precision, parity)]
        half_range = None
        if precision in HALF:
            release_memory()
            half_range = measure_half_range(path, self.frames, self.spec, self.constants)
            over = half_range.first_over
            faults += [] if over is None else [over.describe()]
        if half is not None:
            faults += half.faults
        record = self._record(parity, half_range, half, faults)
        if faults and not (self.allow_loss and _is_finite(record)):
            # What is not a number is no loss of parity that one could allow.
            hint = " (--allow-parity-loss writes it all the same)" if _is_finite(record) else ""
            raise ParityError(f"{path.name} fails the parity gate: {'; '.join(faults)}{hint}")
        return record

    def try_half(self, graph: DeploymentGraph) -> HalfEvidence:
        """Run an FP16 graph in PyTorch, where half precision is rounded and overflows for real."""
        parameters = sum(parameter.numel() for parameter in graph.parameters())
        count = 1 if parameters > SLOW_PARAMETERS else len(self.frames)
        found = run_graph_module(graph, self.frames[:count], self.spec, self.constants)
        parity = self._compare(found, "fp16", count)
        return HalfEvidence(parity)

    def _compare(
        self, found: GoldenOutputs, precision: GraphPrecision, count: int | None = None
    ) -> Parity:
        names = [frame.name for frame in self.frames[:count]]
        return compare(names, self.reference.first(count), found, LIMITS[precision])

    def _explain(self, path: Path, precision: GraphPrecision, parity: Parity) -> str:
        worst = parity.worst
        frame = next(frame for frame in self.frames if frame.name == worst.name)
        layer = self._blame(path, precision, frame)
        return f"worst on {worst.name}: {worst.describe()}, {layer}"

    def _blame(self, path: Path, precision: GraphPrecision, frame: GoldenFrame) -> str:
        expected = trace_module(self.build(), reference_input(frame.image_bgr, self.spec))
        found = trace_graph(path, resize_exact(frame.image_bgr, self.spec), self.constants)
        errors = compare_layers(expected, found)
        error = first_jump(errors, ROUNDING[precision])
        if error is None or error.relative <= ROUNDING[precision]:
            return "no layer differs, so the fault lies between the last layer and the outputs"
        if error is errors[0]:
            return f"already at the first layer, '{error.layer}', so the fault lies before it"
        return f"first at layer '{error.layer}' (relative error {error.relative:.2g})"

    def _record(
        self,
        parity: Parity,
        half_range: HalfRange | None,
        half: HalfEvidence | None,
        faults: Sequence[str],
    ) -> ParityRecord:
        evidence = ["run on CPU"] if half is None else ["FP16 emulated on CPU", half.describe()]
        if faults:
            evidence.append(f"over the limits, allowed by --allow-parity-loss: {'; '.join(faults)}")
        frames = parity.frames
        return ParityRecord(
            frames=len(frames),
            backend=backend_name(),
            score_max_abs=float(np.max([frame.score_abs for frame in frames])),
            map_max_abs=float(np.max([frame.map_max_abs for frame in frames])),
            map_mean_abs=float(np.mean([frame.map_mean_abs for frame in frames])),
            map_correlation=parity.correlation,
            largest_magnitude=None if half_range is None else half_range.largest,
            evidence="; ".join(evidence),
        )


def _is_finite(record: ParityRecord) -> bool:
    figures = (record.score_max_abs, record.map_max_abs, record.map_mean_abs)
    return all(map(math.isfinite, (*figures, record.largest_magnitude or 0.0)))
