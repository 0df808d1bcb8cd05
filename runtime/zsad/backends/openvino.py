"""OpenVINO on the CPU: an artifact's graphs as they are, or in bfloat16 where that is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from zsad.artifact import Artifact
from zsad.backends.reduced import PASSED, check_reduced
from zsad.backends.threads import DEFAULT_THREADS, Threads
from zsad.device_cache import device_cache, make_room
from zsad.errors import InferenceError, InputError, MissingExtraError
from zsad.manifest import Precision, TensorSpec
from zsad.types import Array

LOG = logging.getLogger(__name__)

HINTS: Mapping[str, str] = {"openvino": "f32", "openvino-bf16": "bf16"}
"""Per backend, what float32 operators are computed in. Left to itself OpenVINO takes bfloat16
wherever the CPU has it."""

CACHE_BYTES = 8_000_000_000
"""What the compile cache may take: five graphs of a ViT-L/14 at 518 px."""

EXACT: Mapping[str, str] = {"openvino-bf16": "openvino"}
"""Per backend that rounds more than its graph asks for, the one that does not."""


def import_openvino() -> Any:
    """Return the openvino module.

    Raises:
        InputError: It is not installed, or does not load.
    """
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingExtraError("openvino", "openvino", "backend 'openvino'") from None
    except ImportError as error:
        raise InputError(
            f"openvino cannot be imported ({error}): pip install --force-reinstall openvino"
        ) from None
    return openvino


def has_bfloat16(core: Any) -> bool:
    """Return whether this CPU multiplies bfloat16, which elsewhere would only be emulated."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend:
    """One graph, compiled by OpenVINO for the CPU."""

    engine_sha256: str | None = None  # what it keeps of a compilation is its own affair

    def __init__(
        self,
        artifact: Artifact,
        precision: Precision,
        name: str,
        threads: Threads = DEFAULT_THREADS,
    ) -> None:
        """Compile the graph of `precision`; `name` is a key of `HINTS`.

        Raises:
            InputError: OpenVINO is missing, the CPU has no bfloat16, or the graph cannot be loaded
                or gives something else in reduced arithmetic.
        """
        self.name = name
        self.precision = precision
        graph = artifact.graph(precision)
        self._openvino = import_openvino()
        compiled = _compile(self._openvino, artifact.file(graph.file), graph.sha256, name, threads)
        device = compiled.get_property("EXECUTION_DEVICES")[0]
        self.provider = f"OpenVINO {device} {_effective_hint(compiled)}"
        manifest = artifact.manifest
        self.inputs = _specs(compiled.inputs, [spec.name for spec in manifest.inputs])
        self.outputs = _specs(compiled.outputs, [spec.name for spec in manifest.outputs])
        self._request: Any = compiled.create_infer_request()
        if name in EXACT:
            self._check(artifact, threads)
        make_room(_cache_root().glob("*"), _cache_root() / graph.sha256, CACHE_BYTES)

    def _check(self, artifact: Artifact, threads: Threads) -> None:
        folder = _cache(self._openvino, artifact.graph(self.precision).sha256, self.name)
        exact = partial(OpenVinoBackend, artifact, self.precision, EXACT[self.name], threads)
        check_reduced(artifact, self, exact, None if folder is None else folder / PASSED)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Raises:
            InferenceError: OpenVINO failed, or an input is missing, of a wrong type or shape.
        """
        if self._request is None:
            raise InputError("the backend is closed: open it again")
        if missing := sorted({spec.name for spec in self.inputs} - feeds.keys()):
            # OpenVINO would take the values of the run before.
            raise InferenceError(f"{self.provider} failed: input '{missing[0]}' was not given")
        try:
            for name, values in feeds.items():
                # OpenVINO shares only what it may write, and Pillow's images are read-only.
                shared = np.require(values, requirements=["C", "W"])
                tensor = self._openvino.Tensor(shared, shared_memory=True)
                self._request.set_tensor(name, tensor)
            self._request.infer()
            # Copies: the request writes its next answers into the same memory.
            return {s.name: np.array(self._request.get_tensor(s.name).data) for s in self.outputs}
        except Exception as error:  # OpenVINO's exceptions share no base class
            raise InferenceError(f"{self.provider} failed: {_reason(error)}") from error

    def close(self) -> None:
        """Free the compiled graph; closing twice does no harm."""
        self._request = None

    def __enter__(self) -> OpenVinoBackend:
        """Return itself; the graph is compiled already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the compiled graph."""
        self.close()


def _compile(openvino: Any, path: Path, graph_sha256: str, name: str, threads: Threads) -> Any:
    core = openvino.Core()
    if HINTS[name] == "bf16" and not has_bfloat16(core):
        raise InputError(
            f"backend '{name}' needs a CPU with bfloat16 (AVX512_BF16 or AMX), this one has none:"
            " use --backend openvino"
        )
    config = {
        "INFERENCE_PRECISION_HINT": HINTS[name],
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned, every process takes the same first cores (openvinotoolkit/openvino issue 32444).
        "ENABLE_CPU_PINNING": "NO",
    }
    if (folder := _cache(openvino, graph_sha256, name)) is not None:
        config["CACHE_DIR"] = str(folder)
    if threads.count is not None:
        config["INFERENCE_NUM_THREADS"] = str(threads.count)
    try:
        compiled = core.compile_model(core.read_model(str(path)), "CPU", config)
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be loaded by OpenVINO: {_reason(error)}; export it again, or run"
            " zsad-doctor"
        ) from None
    if (found := _effective_hint(compiled)) != HINTS[name]:
        raise InputError(f"backend '{name}' was asked for, but OpenVINO computes in {found} here")
    return compiled


def _effective_hint(compiled: Any) -> str:
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _cache_root() -> Path:
    """Return the folder of all compiled graphs, one folder for each."""
    return device_cache() / "openvino"


def _cache(openvino: Any, graph_sha256: str, name: str) -> Path | None:
    """Return the folder for what is compiled; None where it cannot be written."""
    # OpenVINO gives what it compiled for bfloat16 and for float32 the same file name: in one
    # folder each opens the other's, and gives its numbers or crashes (2026.4.1).
    version = openvino.__version__.partition("-")[0]
    folder = _cache_root() / graph_sha256 / f"{name}-{version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder.parent)  # the graph's last use, before another process makes room
    except OSError as error:
        return _uncached(_cache_root(), error.strerror or "not writable")
    if not os.access(folder, os.W_OK):
        return _uncached(_cache_root(), "not writable")
    return folder


@cache
def _uncached(folder: Path, reason: str) -> None:
    # Cached, so that it is said once.
    LOG.warning(
        "cannot write the compile cache %s: %s; compiling at every start, set XDG_CACHE_HOME",
        folder,
        reason,
    )


def _specs(ports: Sequence[Any], wanted: Sequence[str]) -> tuple[TensorSpec, ...]:
    return tuple(_spec(port, wanted) for port in ports)


def _spec(port: Any, wanted: Sequence[str]) -> TensorSpec:
    # A port has a name for every tensor that the compiler found to be the same.
    name = next((each for each in wanted if each in port.names), port.get_any_name())
    shape = tuple(
        str(dim) if dim.is_dynamic else int(dim.get_length()) for dim in port.partial_shape
    )
    return TensorSpec(name, shape, str(port.element_type.to_dtype()))


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return said[-1] if said else type(error).__name__
