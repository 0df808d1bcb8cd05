"""The gate at the end of an export: a graph that is not its reference does not leave the house."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from zsad.errors import ParityError
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.parity import AUROC_BUDGETS, LIMITS, Parity, compare, parity_record
from zsad.parity_record import ParityRecord
from zsad.preprocess import PreprocessSpec
from zsad.types import Array, ImageU8
from zsad_export.blame import Blame
from zsad_export.graph import DeploymentGraph
from zsad_export.graph_names import HALF, GraphPrecision
from zsad_export.half_range import float32_modules, measure_half_range
from zsad_export.int8_range import used_ranges
from zsad_export.labelled import LabelledComparison, LabelledReference
from zsad_export.memory import release_memory
from zsad_export.reference import run_graph_module
from zsad_export.replay import GraphPredictor, backend_name, replay_onnx
from zsad_export.twins import twin_fault
from zsad_export.widen import unit_of

SLOW_PARAMETERS = 100_000_000
"""Above this, PyTorch's half precision on a CPU, a minute per frame, runs on one frame only."""


MEASURED = 16
"""Labelled images whose tensors are measured, beside the golden frames."""


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
        worst = self.parity.score_max_abs
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
        labelled: What the reference made of labelled images, where there are some.
    """

    build: Callable[[], nn.Module]
    frames: Sequence[GoldenFrame]
    reference: GoldenOutputs
    spec: PreprocessSpec
    allow_loss: bool = False
    constants: Mapping[str, Array] = field(default_factory=dict)
    labelled: LabelledReference | None = None

    def check(
        self,
        path: Path,
        precision: GraphPrecision,
        half: HalfEvidence | None = None,
        exact: Path | None = None,
        float32: Sequence[str] = (),
        calibrated: Sequence[ImageU8] = (),
    ) -> ParityRecord:
        """Hold the graph at `path` against the reference.

        Args:
            path: The ONNX file.
            precision: Which limits apply.
            half: What PyTorch in half precision gave, for an FP16 graph.
            exact: The float32 graph, for an FP16 graph, which must be its rounding.
            float32: Modules that an FP16 graph computes in float32.
            calibrated: Some of the frames that the ranges of an INT8 graph must fit, at its size.

        Raises:
            ParityError: A frame is over a limit, an FP16 tensor comes near to overflowing, an FP16
                graph is more than the rounding of the float32 one, an INT8 range does not
                fit what it holds, or labelled images do not show that AUROC stays within its
                budget; the line names the worst frame and the first layer that differs, or the
                tensor.
        """
        parity = self._compare(replay_onnx(path, self.frames, self.spec, self.constants), precision)
        faults = [] if parity.passed else [self._explain(path, precision, parity)]
        largest = None
        if precision in HALF:
            largest, found = self._check_range(path)
            faults += found
        faults += self._check_int8_ranges(path, calibrated)
        if exact is not None and (fault := twin_fault(path, exact)) is not None:
            faults.append(f"it is not the float32 graph in half precision: {fault}")
        faults += [] if half is None else half.faults
        labelled = None
        if self.labelled is not None and (self.allow_loss or not faults):
            labelled = self._compare_labelled(self.labelled, path, precision)
            faults += self._labelled_faults(path, precision, labelled)
        evidence = _evidence(precision, half, float32, faults)
        record = replace(
            parity_record(parity, self.reference, backend_name(), evidence),
            largest_magnitude=largest,
            float32=tuple(float32),
            data=None if labelled is None else labelled.record,
        )
        if faults and not (self.allow_loss and _is_finite(record)):
            # What is not a number is no loss of parity that one could allow.
            hint = " (--allow-parity-loss writes it all the same)" if _is_finite(record) else ""
            raise ParityError(f"{path.name} fails the parity gate: {'; '.join(faults)}{hint}")
        return record

    def float32_modules(self, half: Path, exact: Path) -> tuple[str, ...]:
        """Return the modules that the FP16 graph `half` of the float32 graph `exact` cannot hold.

        They are measured on the golden frames and the first of the labelled images.
        """
        seen = [*self.frames, *self._labelled_frames()]
        return float32_modules(half, exact, seen, self.spec, self.constants)

    def rounded_module(self, path: Path) -> str | None:
        """Return the module in which half precision rounds too much, as `unit_of` names it.

        None where the golden frames are within the limits, or no layer is to blame.
        """
        parity = self._compare(replay_onnx(path, self.frames, self.spec, self.constants), "fp16")
        if parity.passed:
            return None
        frame = next(frame for frame in self.frames if frame.name == parity.worst.name)
        layer = self._blame.first_layer(path, frame, "fp16")
        return None if layer is None else unit_of(f"{layer}/")

    @property
    def _blame(self) -> Blame:
        return Blame(self.build, self.spec, self.constants)

    def _labelled_frames(self) -> Iterator[GoldenFrame]:
        if self.labelled is not None:
            dataset = self.labelled.dataset
            for index in range(min(len(dataset), MEASURED)):
                sample = dataset[index]
                yield GoldenFrame(sample.name, sample.image_bgr)

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

    def _check_range(self, path: Path) -> tuple[float, list[str]]:
        """Return the largest magnitude of an FP16 graph, and what comes near to overflowing."""
        release_memory()
        found = measure_half_range(path, self.frames, self.spec, self.constants)
        return found.largest, [] if found.first_over is None else [found.first_over.describe()]

    def _check_int8_ranges(self, path: Path, calibrated: Sequence[ImageU8]) -> list[str]:
        if not calibrated:
            return []
        release_memory()
        ranges = used_ranges(path, calibrated, self.constants)
        return [fault for each in ranges if (fault := each.fault) is not None][:1]

    def _compare_labelled(
        self, labelled: LabelledReference, path: Path, precision: GraphPrecision
    ) -> LabelledComparison:
        release_memory()
        with GraphPredictor(path, self.spec, self.constants) as predictor:
            return labelled.compare(
                predictor, path.name, LIMITS[precision], AUROC_BUDGETS[precision]
            )

    def _labelled_faults(
        self, path: Path, precision: GraphPrecision, found: LabelledComparison
    ) -> list[str]:
        if not found.faults:
            return []
        layer = self._blame.describe(path, found.worst, precision)
        return [f"{fault}, worst on {found.worst.name}, {layer}" for fault in found.faults]

    def _explain(self, path: Path, precision: GraphPrecision, parity: Parity) -> str:
        worst = parity.worst
        frame = next(frame for frame in self.frames if frame.name == worst.name)
        layer = self._blame.describe(path, frame, precision)
        return f"worst on {worst.name}: {worst.describe()}, {layer}"


def _evidence(
    precision: GraphPrecision,
    half: HalfEvidence | None,
    float32: Sequence[str],
    faults: Sequence[str],
) -> str:
    parts = ["FP16 emulated on CPU" if precision in HALF else "run on CPU"]
    if half is not None:
        parts.append(half.describe())
    if float32:
        parts.append(f"in FP32: {', '.join(float32)}")
    if faults:
        parts.append(f"over the limits, allowed by --allow-parity-loss: {'; '.join(faults)}")
    return "; ".join(parts)


def _is_finite(record: ParityRecord) -> bool:
    figures = (record.score_max_abs, record.map_max_abs, record.map_mean_abs)
    return all(map(math.isfinite, (*figures, record.largest_magnitude or 0.0)))
