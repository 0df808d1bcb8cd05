"""Golden frames through an ONNX graph on ONNX Runtime's CPU provider. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import onnxruntime as ort

from zsad.errors import ParityError
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import ArrayF32, ImageU8
from zsad_export.golden import GoldenFrame, GoldenOutputs


class GraphRunner:
    """An ONNX Runtime CPU session that is closed with its block, since it holds all weights."""

    def __init__(self, path: Path) -> None:
        """Open the graph at `path`.

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
        return list(self._session.run(list(outputs), {"image": images_bgr}))


def replay_onnx(path: Path, frames: Sequence[GoldenFrame], spec: PreprocessSpec) -> GoldenOutputs:
    """Run camera frames through the runtime's resize and the graph, one at a time.

    Raises:
        ParityError: ONNX Runtime refuses the graph.
    """
    with GraphRunner(path) as runner:
        found = [
            runner.run(resize_exact(frame.image_bgr, spec)[None], ("score", "anomaly_map"))
            for frame in frames
        ]
    return GoldenOutputs(
        scores=np.concatenate([score for score, _ in found]),
        anomaly_maps=np.concatenate([anomaly_map for _, anomaly_map in found]),
    )


def backend_name() -> str:
    """Return what `replay_onnx` runs on, for the record."""
    return f"onnxruntime {ort.__version__} CPUExecutionProvider"
