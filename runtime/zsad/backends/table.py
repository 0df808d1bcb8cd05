"""Every backend by its name. Light: a command's `--help` shows the names without loading numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zsad.artifact import Artifact
    from zsad.backends.base import Backend
    from zsad.backends.threads import Threads
    from zsad.manifest import Precision

    Opener = Callable[[Artifact, Precision, str, Threads], Backend]


def _onnxruntime(artifact: Artifact, precision: Precision, name: str, threads: Threads) -> Backend:
    from zsad.backends.ort import OrtBackend

    return OrtBackend(artifact, precision, name, threads)


def _tensorrt(artifact: Artifact, precision: Precision, name: str, threads: Threads) -> Backend:
    from zsad.backends.tensorrt import TensorRtBackend

    del threads  # they are the CPU's
    return TensorRtBackend(artifact, precision, name)


def _openvino(artifact: Artifact, precision: Precision, name: str, threads: Threads) -> Backend:
    from zsad.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(artifact, precision, name, threads)


OPENERS: Mapping[str, Opener] = {
    "cpu": _onnxruntime,
    "openvino": _openvino,
    "openvino-bf16": _openvino,
    "cuda": _onnxruntime,
    "cuda-graph": _onnxruntime,
    "ort-tensorrt": _onnxruntime,
    "tensorrt": _tensorrt,
    "tensorrt-graph": _tensorrt,
    "tensorrt-tf32": _tensorrt,
    "tensorrt-rtx": _tensorrt,
    "tensorrt-rtx-tf32": _tensorrt,
}
"""What loads a graph, per name: artifact, precision, name and CPU threads in, the engine out."""

BACKENDS = ("auto", *OPENERS)
"""Names that `open_backend` takes; `auto` is the fastest here, see `zsad.backends.auto`."""

ON_CPU = frozenset({"cpu", "openvino", "openvino-bf16"})
"""Those that run on the CPU."""

BUILDING = frozenset({"ort-tensorrt"})
"""Those that build an engine at their first load, which takes minutes."""

RECORDING = frozenset({"cuda-graph"})
"""Those whose first run of every batch size is recorded, which takes several times as long."""
