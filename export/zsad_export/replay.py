"""Golden frames through an ONNX graph on ONNX Runtime's CPU provider. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np
import onnxruntime as ort

from zsad.errors import ParityError
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import AnomalyResult, Array, ArrayF32, ImageU8
from zsad_export.golden import GoldenFrame, GoldenOutputs, collect_outputs
from zsad_export.graph_names import INPUT, OUTPUTS

NO_CONSTANTS: Mapping[str, Array] = MappingProxyType({})
"""What a graph takes beside images, where that is nothing."""


class GraphRunner:
    """An ONNX Runtime CPU session that is closed with its block, since it holds all weights."""

    def __init__(self, path: Path, constants: Mapping[str, Array] = NO_CONSTANTS) -> None:
        """Open the graph at `path`; `constants` is what it takes beside images.

        Raises:
            ParityError: ONNX Runtime refuses the graph.
        """
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # In graph order a probe runs right behind its tensor; the default order would keep every
        # tensor of the graph until the probes at the end.
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ParityError(f"ONNX Runtime refuses {path.name}: {error}") from None
        self._constants = dict(constants)

    @property
    def outputs(self) -> list[str]:
        """The names of what the graph gives."""
        return [output.name for output in self._session.get_outputs()]

    def __enter__(self) -> GraphRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._session

    def run(self, images_bgr: ImageU8, outputs: Sequence[str]) -> list[ArrayF32]:
        """Return `outputs` for images (N, H, W, 3) uint8 BGR at the graph's size."""
        return list(self._session.run(list(outputs), {INPUT: images_bgr, **self._constants}))


class GraphPredictor:
    """A graph as a predictor, from camera frame to score and map; it is closed with its block."""

    def __init__(
        self, path: Path, spec: PreprocessSpec, constants: Mapping[str, Array] = NO_CONSTANTS
    ) -> None:
        """Open the graph at `path`.

        Raises:
            ParityError: ONNX Runtime refuses the graph.
        """
        self._runner, self._spec = GraphRunner(path, constants), spec

    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Judge a frame (H, W, 3) uint8 BGR of any size; the verdict is always UNCALIBRATED."""
        image = resize_exact(frame_bgr, self._spec)[None]
        score, anomaly_map = self._runner.run(image, OUTPUTS[:2])
        return AnomalyResult(float(score[0]), anomaly_map[0])

    def __enter__(self) -> GraphPredictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.__exit__(kind, error, trace)


def replay_onnx(
    path: Path,
    frames: Sequence[GoldenFrame],
    spec: PreprocessSpec,
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> GoldenOutputs:
    """Run camera frames through the runtime's resize and the graph, one at a time.

    Raises:
        ParityError: ONNX Runtime refuses the graph.
    """
    with GraphRunner(path, constants) as runner:
        names = runner.outputs
        found = [runner.run(resize_exact(frame.image_bgr, spec)[None], names) for frame in frames]
    joined = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return collect_outputs(dict(zip(names, joined, strict=True)))


def backend_name() -> str:
    """Return what `replay_onnx` runs on, for the record."""
    return f"onnxruntime {ort.__version__} CPUExecutionProvider"
