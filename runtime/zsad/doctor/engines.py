"""TensorRT engines that were built for this device."""

from __future__ import annotations

from zsad.device import Gpu, find_gpu
from zsad.doctor.check import Check
from zsad.engine_cache import EngineKey, cache_root, cached_engines
from zsad.errors import InputError

_TITLE = "TensorRT engines"


def engine_checks() -> list[Check]:
    """Return what the engine cache holds for this machine's GPU; one line per engine."""
    try:
        gpu = find_gpu()
    except InputError as error:
        return [Check(_TITLE, "absent", str(error), "they run where an NVIDIA GPU is")]
    keys = [record.key for record in cached_engines(cache_root())]
    fitting = [key for key in keys if key.runs(key.compiler, key.version, gpu)]
    if not fitting:
        detail = f"none for {gpu} in {cache_root()}"
        return [Check(_TITLE, "absent", detail, "zsad-engine ARTIFACT builds one")]
    return [Check("TensorRT engine", "ok", _describe(key, gpu)) for key in fitting]


def _describe(key: EngineKey, gpu: Gpu) -> str:
    return (
        f"{key.precision} of graph {key.graph_sha256[:12]} by {key.compiler} {key.version}, "
        f"batch up to {key.options.max_batch}{', TF32' if key.options.tf32 else ''}, for {gpu}"
    )
