"""Build an engine from an artifact, on the device it will run on or, with RTX, anywhere.

Torch-free and onnx-free: this is what a Jetson runs. The artifact is never changed; the engine
goes to the device's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsad.artifact import Artifact
from zsad.errors import InputError
from zsad.manifest import Precision
from zsad_export.device import gpu_name
from zsad_export.engine_cache import (
    EngineKey,
    EngineRecord,
    cache_root,
    engine_path,
    find_engine,
    store_engine,
)
from zsad_export.tensorrt_api import NATIVE, RTX, Compiler

DEFAULT_SMS = (86, 89, 120)
"""Ampere, Ada and Blackwell boards of workstations, what TensorRT-RTX is for."""

DEFAULT_MAX_BATCH = 8


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the cache; `was_cached` tells whether it had been built before."""

    path: Path
    record: EngineRecord
    was_cached: bool

    def describe(self) -> str:
        """Return one line: what was built for what, how large, and where it is."""
        key, types = self.record.key, self.record.compute_types
        size = self.path.stat().st_size / 1e6
        return (
            f"{'cached' if self.was_cached else 'built'} by {key.compiler} {key.version} for "
            f"{key.device}, {size:.1f} MB, compute layers {types.get('float16', 0)} FP16 and "
            f"{types.get('float32', 0)} FP32: {self.path}"
        )


def build_rtx_engine(
    artifact: Artifact,
    precision: Precision | None = None,
    sms: Sequence[int] = DEFAULT_SMS,
    max_batch: int = DEFAULT_MAX_BATCH,
) -> BuiltEngine:
    """Compile a graph with TensorRT-RTX, which needs no GPU.

    Args:
        artifact: A verified artifact.
        precision: The graph, None for the artifact's default.
        sms: Compute capabilities to compile for, such as 86.
        max_batch: Largest batch that the engine takes.

    Raises:
        InputError: The artifact has no such graph, the package is missing or cannot compile for
            one of `sms`, or the cache cannot be written.
        EngineError: The compiler refuses the graph.
    """
    wanted = tuple(sorted(set(sms)))
    if not wanted:
        raise InputError("--sm is empty: name compute capabilities, for example --sm 86,89,120")
    compiler = Compiler(RTX)
    architectures = compiler.architectures(wanted)
    device = " ".join(f"sm{number}" for number in wanted)
    return _build(artifact, precision, compiler, device, architectures, max_batch)


def build_native_engine(
    artifact: Artifact,
    precision: Precision | None = None,
    max_batch: int = DEFAULT_MAX_BATCH,
) -> BuiltEngine:
    """Compile a graph with TensorRT for the GPU of this machine.

    Raises:
        InputError: The artifact has no such graph, TensorRT is missing or too old, or the cache
            cannot be written.
        EngineError: There is no GPU, or the compiler refuses the graph.
    """
    return _build(artifact, precision, Compiler(NATIVE), gpu_name(), (), max_batch)


def _build(
    artifact: Artifact,
    precision: Precision | None,
    compiler: Compiler,
    device: str,
    architectures: Sequence[object],
    max_batch: int,
) -> BuiltEngine:
    if max_batch < 1:
        raise InputError(f"--max-batch {max_batch} leaves nothing: use 1 or more")
    chosen = precision or artifact.manifest.default_precision
    graph = artifact.graph(chosen)
    key = EngineKey(graph.sha256, chosen, compiler.name, compiler.version, device, max_batch)
    root = cache_root()
    cached = find_engine(key, root)
    if cached is not None:
        return BuiltEngine(engine_path(key, root), cached, was_cached=True)
    measured = artifact.manifest.parity.get(chosen)
    float32 = () if measured is None else measured.float32
    path = artifact.file(graph.file)
    compiled = compiler.compile(path, chosen, max_batch, architectures, float32)
    types = compiled.types
    counts = {"float16": len(types.half), "float32": len(types.head) + len(types.islands)}
    record = store_engine(key, compiled.plan, counts, root)
    return BuiltEngine(engine_path(key, root), record, was_cached=False)
