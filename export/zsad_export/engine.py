"""Build an engine from an artifact, on the device it will run on or, with RTX, anywhere.

Torch-free and onnx-free: this is what a Jetson runs. The artifact is never changed; the engine
goes to the device's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zsad.artifact import Artifact
from zsad.device import find_gpu
from zsad.engine_cache import (
    BuildOptions,
    EngineKey,
    EngineRecord,
    cache_root,
    engine_path,
    find_engine,
    load_engine,
    make_folder,
    renew_engine,
    store_engine,
)
from zsad.errors import EngineError, InputError
from zsad.manifest import Precision
from zsad.schema import parse_json, write_json
from zsad.tensorrt_package import NATIVE, RTX
from zsad_export.build_progress import Progress
from zsad_export.tensorrt_api import Build, Compiler
from zsad_export.timing_cache import timing_path

DEFAULT_SMS = (86, 89, 120)
"""Ampere, Ada and Blackwell boards of workstations, what TensorRT-RTX is for."""


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
        int8 = f", {types['int8']} INT8 weights" if types.get("int8") else ""
        tf32 = ", products rounded to TF32" if key.options.tf32 else ""
        return (
            f"{'cached' if self.was_cached else 'built'} by {key.compiler} {key.version} for "
            f"{key.device}, {size:.1f} MB, compute layers {types.get('float16', 0)} FP16 and "
            f"{types.get('float32', 0)} FP32{int8}{tf32}{self._checked()}: {self.path}"
        )

    def _checked(self) -> str:
        types = self.record.engine_types
        if types is None:
            return ""
        if not types:
            return ", types of the engine not told by its inspector"
        half, single = types.get("float16", 0), types.get("float32", 0)
        return f", engine tensors {half} FP16 and {single} FP32"


def build_rtx_engine(
    artifact: Artifact,
    precision: Precision | None = None,
    sms: Sequence[int] = DEFAULT_SMS,
    options: BuildOptions | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> BuiltEngine:
    """Compile a graph with TensorRT-RTX, which needs no GPU.

    Args:
        artifact: A verified artifact.
        precision: The graph, None for the artifact's default.
        sms: Compute capabilities to compile for, such as 86.
        options: What the engine is to be; None for the defaults.
        progress: Is told phase, steps done and steps in all.

    Raises:
        InputError: The artifact has no such graph, the package is missing or cannot compile for
            one of `sms`, or the cache cannot be written.
        EngineError: The compiler refuses the graph.
    """
    wanted = tuple(sorted(set(sms)))
    if not wanted:
        raise InputError("--sm is empty: name compute capabilities, for example --sm 86,89,120")
    compiler = Compiler(RTX)
    # No timings: they would make the compiler look for a GPU.
    build = Build(options or BuildOptions(), compiler.architectures(wanted), None, progress)
    device = " ".join(f"sm{number}" for number in wanted)
    return _build(artifact, precision, compiler, device, build)


def build_native_engine(
    artifact: Artifact,
    precision: Precision | None = None,
    options: BuildOptions | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> BuiltEngine:
    """Compile a graph with TensorRT for the GPU of this machine.

    Args:
        artifact: A verified artifact.
        precision: The graph, None for the artifact's default.
        options: What the engine is to be; None for the defaults.
        progress: Is told phase, steps done and steps in all.

    Raises:
        InputError: The artifact has no such graph, TensorRT is missing or too old, or the cache
            cannot be written.
        EngineError: There is no GPU, or the compiler refuses the graph.
    """
    artifact.graph(precision)
    try:
        device = str(find_gpu())
    except InputError as error:
        raise EngineError(
            f"{error}: build the engine on the device, or use --rtx, which needs no GPU"
        ) from None
    compiler = Compiler(NATIVE)
    timings = timing_path(cache_root(), compiler.name, compiler.version, device)
    build = Build(options or BuildOptions(), (), timings, progress)
    return _build(artifact, precision, compiler, device, build)


def write_inspection(built: BuiltEngine, path: Path) -> None:
    """Write what an engine's inspector says about its layers, as JSON.

    Raises:
        InputError: The engine cannot be loaded here, or `path` cannot be written.
    """
    compiler = Compiler(built.record.key.compiler)
    said = compiler.inspect(load_engine(built.record, cache_root()))
    if said is None:
        raise InputError(
            f"--inspect: {compiler.title} can load the engine only where its GPU is: run it there"
        )
    write_json(path, parse_json(said))


def _build(
    artifact: Artifact,
    precision: Precision | None,
    compiler: Compiler,
    device: str,
    build: Build,
) -> BuiltEngine:
    chosen = precision or artifact.manifest.default_precision
    graph = artifact.graph(chosen)
    key = EngineKey(graph.sha256, chosen, compiler.name, compiler.version, device, build.options)
    root = cache_root()
    make_folder(root)  # an engine that took minutes shall have where to go
    cached = find_engine(key, root)
    if cached is not None:
        renew_engine(key, root)  # backends take the newest
        return BuiltEngine(engine_path(key, root), cached, was_cached=True)
    measured = artifact.manifest.parity.get(chosen)
    build = replace(build, float32=() if measured is None else measured.float32)
    compiled = compiler.compile(artifact.file(graph.file), chosen, build)
    types = compiled.types
    counts = {"float16": len(types.half), "float32": len(types.head) + len(types.islands)}
    if compiled.int8_weights:
        counts["int8"] = compiled.int8_weights
    record = store_engine(key, compiled.plan, counts, root, compiled.engine_types)
    return BuiltEngine(engine_path(key, root), record, was_cached=False)
