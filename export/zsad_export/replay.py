"""Golden frames through an ONNX graph on ONNX Runtime's CPU provider. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from zsad.closeable import Closeable
from zsad.golden import GoldenFrame, GoldenOutputs, collect_outputs
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import AnomalyResult, Array, ImageU8
from zsad_calibration.probing.runner import NO_CONSTANTS, GraphRunner
from zsad_export.graph_names import OUTPUTS


class GraphPredictor(Closeable):
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

    def close(self) -> None:
        """Give back the graph's memory."""
        self._runner.close()


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
