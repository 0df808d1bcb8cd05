"""ONNX Runtime and its execution providers: CPU, CUDA, CUDA by graphs, TensorRT."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from zsad.artifact import Artifact
from zsad.backends.ort_graph import SessionReplay
from zsad.backends.threads import DEFAULT_THREADS, Threads
from zsad.device_cache import device_cache
from zsad.errors import InferenceError, InputError
from zsad.manifest import Precision, TensorSpec
from zsad.types import Array

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "cuda-graph": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "ort-tensorrt": (
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ),
}
"""Per backend, the wanted provider and those that take the nodes it leaves over."""

_WITH_GRAPHS = "cuda-graph"
_WITH_GRAPHS_SINCE = (1, 18)  # from which on every shape can have a graph of its own

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
}


def import_onnxruntime() -> Any:
    """Return the onnxruntime module.

    Raises:
        InputError: It is not installed, or is not whole.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"onnxruntime cannot be imported ({error}): pip install onnxruntime, or onnxruntime-gpu"
            " for an NVIDIA GPU, never both"
        ) from None
    if not hasattr(onnxruntime, "InferenceSession"):
        raise InputError(
            "onnxruntime is damaged, as when one of onnxruntime and onnxruntime-gpu was removed"
            " after both were installed: pip uninstall both, then install the one you want"
        )
    return onnxruntime


class OrtBackend:
    """One graph in an ONNX Runtime session."""

    engine_sha256: str | None = None

    def __init__(
        self,
        artifact: Artifact,
        precision: Precision,
        name: str,
        threads: Threads = DEFAULT_THREADS,
    ) -> None:
        """Load the graph of `precision` with the provider that `name` stands for.

        Raises:
            InputError: The provider cannot be had, or the graph cannot be loaded.
        """
        self.name = name
        self.precision = precision
        graph = artifact.graph(precision)
        self._session: Any = _open_session(artifact.file(graph.file), graph.sha256, name, threads)
        self.provider: str = self._session.get_providers()[0]
        self._runner: SessionReplay | None = None
        if name == _WITH_GRAPHS:
            self.provider += " by CUDA graphs"
            self._runner = SessionReplay(import_onnxruntime(), self._session)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Raises:
            InferenceError: ONNX Runtime failed, for example for want of memory.
        """
        if self._session is None:
            raise InputError("the backend is closed: open it again")
        names = [spec.name for spec in self.outputs]
        run = self._session.run if self._runner is None else self._runner.run
        try:
            values = run(names, dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise InferenceError(f"{self.provider} failed: {_first_line(error)}") from error
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def close(self) -> None:
        """Free the session; closing twice does no harm."""
        self._session = self._runner = None

    def __enter__(self) -> OrtBackend:
        """Return itself; the session is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the session."""
        self.close()


def _open_session(path: Path, graph_sha256: str, name: str, threads: Threads) -> Any:
    ort = import_onnxruntime()
    wanted = PROVIDERS[name][0]
    offered = ort.get_available_providers()
    if wanted not in offered:
        raise InputError(
            f"backend '{name}' needs {wanted}, this onnxruntime offers only {', '.join(offered)}:"
            " pip uninstall onnxruntime, then pip install onnxruntime-gpu; zsad-doctor tells more"
        )
    if name == _WITH_GRAPHS and _release(ort) < _WITH_GRAPHS_SINCE:
        raise InputError(f"backend '{name}' needs onnxruntime-gpu 1.18 or newer: use cuda instead")
    if name != "cpu":
        _preload_cuda(ort)
        # Every convolution kernel that cuDNN tries and cannot use is printed as an error, while
        # what really fails is raised.
        ort.set_default_logger_severity(4)
    providers = [
        (each, _provider_options(each, graph_sha256, name, _release(ort)))
        for each in PROVIDERS[name]
        if each in offered
    ]
    options = _session_options(ort, threads)
    try:
        # Its own fallback would move to the CPU behind our back, at load or in the middle of a run.
        session = ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise InputError(
            f"{path} cannot be loaded by ONNX Runtime with {wanted}: {_first_line(error)};"
            " export it again, or run zsad-doctor"
        ) from None
    found = session.get_providers()[0]
    if found != wanted:
        raise InputError(
            f"backend '{name}' was asked for, but the session runs on {found}: the CUDA, cuDNN or"
            f" TensorRT libraries of {wanted} did not load; zsad-doctor says which fit"
        )
    return session


def _session_options(ort: Any, threads: Threads) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; warnings about node placement are not for users
    # Threads that spin between frames take the cores from cameras, decoders and other lines.
    # Within a run they may unless told otherwise, and all else is the library's default, too: what
    # any of it gives on a machine, benchmarks/session_options.py measures.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not threads.spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads.count is not None:
        options.intra_op_num_threads = threads.count
    return options


def _preload_cuda(ort: Any) -> None:
    # CUDA from NVIDIA's pip packages is found only so; what it prints belongs on standard error.
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):
            ort.preload_dlls()


def _provider_options(
    provider: str, graph_sha256: str, name: str, release: tuple[int, ...]
) -> dict[str, str]:
    if provider == "CUDAExecutionProvider":
        graphs = {"enable_cuda_graph": "1"} if name == _WITH_GRAPHS else {}
        return _cuda_options(release) | graphs
    if provider != "TensorrtExecutionProvider":
        return {}
    cache = device_cache() / "ort-tensorrt" / graph_sha256
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write the engine cache {cache}: {error.strerror}; set XDG_CACHE_HOME"
        ) from None
    return {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(cache)}


def _release(ort: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(ort.__version__))[:2])


def _cuda_options(release: tuple[int, ...]) -> dict[str, str]:
    # By default its FP32 products round their factors to TF32's 10 bits, which the graph does not
    # say. Builds before 1.18, as some for JetPack are, refuse the option (microsoft/onnxruntime
    # pull request 19357).
    return {"use_tf32": "0"} if release >= (1, 18) else {}


def _spec(node: Any) -> TensorSpec:
    shape = tuple(dim if isinstance(dim, int) else str(dim) for dim in node.shape)
    dtype = _DTYPES.get(node.type, node.type.removeprefix("tensor(").removesuffix(")"))
    return TensorSpec(node.name, shape, dtype)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
