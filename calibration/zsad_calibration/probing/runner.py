"""An ONNX graph on ONNX Runtime's CPU provider, for who looks into graphs. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import onnxruntime as ort

from zsad.closeable import Closeable
from zsad.errors import ParityError
from zsad.types import Array, ArrayF32, ImageU8

NO_CONSTANTS: Mapping[str, Array] = MappingProxyType({})
"""What a graph takes beside images, where that is nothing."""


class GraphRunner(Closeable):
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
            self._session: ort.InferenceSession | None = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ParityError(f"ONNX Runtime refuses {path.name}: {error}") from None
        self._constants = dict(constants)
        names = [node.name for node in self._open.get_inputs()]
        (self._image,) = (name for name in names if name not in self._constants)

    @property
    def outputs(self) -> list[str]:
        """The names of what the graph gives."""
        return [output.name for output in self._open.get_outputs()]

    def close(self) -> None:
        """Give back the memory of the weights; closing twice does no harm."""
        self._session = None

    def run(self, images_bgr: ImageU8, outputs: Sequence[str]) -> list[ArrayF32]:
        """Return `outputs` for images (N, H, W, 3) uint8 BGR at the graph's size."""
        return list(self._open.run(list(outputs), {self._image: images_bgr, **self._constants}))

    @property
    def _open(self) -> ort.InferenceSession:
        assert self._session is not None, "the runner is closed"
        return self._session
