"""Golden frames through an ONNX graph on ONNX Runtime's CPU provider. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import Array
from zsad_calibration.probing.runner import NO_CONSTANTS, GraphRunner
from zsad_export.golden import GoldenFrame, GoldenOutputs, collect_outputs


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
