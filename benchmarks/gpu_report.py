"""The checks behind `gpu_check.py`, as data and as a table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import machine
from gpu_findings import SCHEMA, Checks, GpuReport
from timing import Stages, take_turns
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.cuda_memory import CUDA_PYTHON, PYCUDA, open_cuda
from zsad.backends.ort import PROVIDERS, import_onnxruntime
from zsad.backends.tensorrt import TensorRtBackend
from zsad.detector import Detector
from zsad.device import find_gpu
from zsad.errors import InputError, ParityError
from zsad.golden import read_golden_inputs
from zsad.manifest import PRECISIONS, Precision
from zsad.parity import LIMITS
from zsad.tensorrt_package import NATIVE, RTX, load_tensorrt
from zsad.types import Array, ImageU8
from zsad.watch.golden import GoldenReplay
from zsad_export.engine import BuiltEngine, build_native_engine, build_rtx_engine

WARM_UP = 20
ORT = "onnxruntime-gpu"
BACKENDS = ("cuda", "cuda-graph", "tensorrt", "tensorrt-graph", "tensorrt-rtx")
STAMPED = ("tensorrt", "tensorrt-rtx")
"""Backends whose device stamps its steps; a CUDA graph has no parts."""

_ROUND_TRIP = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What to check: an artifact (None makes one), timed runs and the camera frame's size."""

    artifact: Path | None
    runs: int
    frame_hw: tuple[int, int]


def check_gpu(plan: Plan) -> GpuReport:
    """Run every check of this machine's GPU, and record what is missing for the others."""
    checks = Checks()
    has_gpu = checks.run("driver", _driver)
    packages = [NATIVE] if checks.run(NATIVE, partial(_package, NATIVE)) else []
    packages += [RTX] if checks.run(RTX, partial(_package, RTX), optional=True) else []
    packages += [ORT] if checks.run(ORT, _onnxruntime, optional=True) else []
    for library in (PYCUDA, CUDA_PYTHON):
        checks.run(library, partial(_round_trip, library), optional=True)
    with _artifact(plan, checks) as artifact:
        if artifact is not None and has_gpu:
            for precision in [p for p in PRECISIONS if p in artifact.manifest.graphs]:
                _check_graph(checks, artifact, precision, packages, plan)
    return GpuReport(SCHEMA, machine.describe(), tuple(checks.findings))


def _driver() -> dict[str, Any]:
    gpu = find_gpu()
    return {"gpu": gpu.name, "sm": gpu.sm}


def _package(name: str) -> dict[str, Any]:
    return {"version": str(load_tensorrt(name).__version__)}


def _onnxruntime() -> dict[str, Any]:
    ort = import_onnxruntime()
    offered = ort.get_available_providers()
    if PROVIDERS["cuda"][0] not in offered:
        raise InputError(f"onnxruntime {ort.__version__} offers only {', '.join(offered)}")
    return {"version": str(ort.__version__)}


def _round_trip(library: str) -> dict[str, Any]:
    cuda = open_cuda(library)
    sent = np.random.default_rng(0).integers(0, 256, _ROUND_TRIP, dtype=np.uint8)
    with cuda.active():
        there, back = cuda.pinned(_ROUND_TRIP), cuda.pinned(_ROUND_TRIP)
        address = cuda.allocate(_ROUND_TRIP)
        np.copyto(there, sent)
        cuda.upload(address, there)
        cuda.download(back, address)
        cuda.synchronize()
        same = bool(np.array_equal(back, sent))
        cuda.free(address)
        cuda.free_pinned(there)
        cuda.free_pinned(back)
    cuda.close()
    if not same:
        raise ParityError(f"{library}: memory came back altered")
    return {"bytes": _ROUND_TRIP}


@contextmanager
def _artifact(plan: Plan, checks: Checks) -> Iterator[Artifact | None]:
    with tempfile.TemporaryDirectory() as scratch:
        path = plan.artifact or Path(scratch) / "winclip"
        opened: list[Artifact] = []

        def open_it() -> dict[str, Any]:
            if plan.artifact is None:
                _export(path)
            opened.append(Artifact.open(path))
            manifest = opened[0].manifest
            return {
                "method": manifest.method.name,
                "backbone": manifest.backbone.name,
                "sha256": opened[0].sha256,
                "graphs": list(manifest.graphs),
            }

        checks.run("artifact", open_it)
        yield opened[0] if opened else None


def _export(out: Path) -> None:
    from zsad_export.export import export_checkpoint  # torch
    from zsad_export.int8_options import Int8Options
    from zsad_train.checkpoint import untrained_checkpoint

    checkpoint = untrained_checkpoint("winclip", "object", "tiny", pretrained=None, image_size=None)
    export_checkpoint(checkpoint, out, fp16=True, int8=Int8Options())


def _check_graph(
    checks: Checks, artifact: Artifact, precision: Precision, packages: list[str], plan: Plan
) -> None:
    ready = [
        package
        for package in packages
        if package == ORT
        or checks.run(
            f"build {precision} {package}",
            partial(_build, artifact, precision, package),
            optional=package == RTX,  # which is for some GPUs only
        )
    ]
    held = [
        name
        for name in BACKENDS
        if _package_of(name) in ready
        and checks.run(f"parity {precision} {name}", partial(_parity, artifact, precision, name))
    ]
    for name in [name for name in held if name in STAMPED]:
        times = partial(_times, artifact, precision, name, plan)
        checks.run(f"gpu time {precision} {name}", times)
    if held:
        checks.run(f"latency {precision}", partial(_latency, artifact, precision, held, plan))


def _package_of(backend: str) -> str:
    if backend in PROVIDERS:
        return ORT
    return RTX if backend == "tensorrt-rtx" else NATIVE


def _build(artifact: Artifact, precision: Precision, package: str) -> dict[str, Any]:
    if package == RTX:
        built = build_rtx_engine(artifact, precision, (find_gpu().sm,))
    else:
        built = build_native_engine(artifact, precision)
    return _engine_figures(built)


def _engine_figures(built: BuiltEngine) -> dict[str, Any]:
    return {
        "megabytes": built.path.stat().st_size / 1e6,
        "was_cached": built.was_cached,
        "network_types": dict(built.record.compute_types),
        "engine_types": built.record.engine_types,
    }


def _parity(artifact: Artifact, precision: Precision, name: str) -> dict[str, Any]:
    with open_backend(artifact, precision, name) as backend:
        parity = GoldenReplay(artifact, LIMITS[precision]).run(backend).parity
    if not parity.passed:
        raise ParityError(f"{parity.worst.name}: {parity.worst.describe()}")
    return {
        "frames": len(parity.frames),
        "score_max_abs": parity.score_max_abs,
        "map_max_abs": parity.map_max_abs,
        "map_correlation": parity.correlation,
    }


def _times(artifact: Artifact, precision: Precision, name: str, plan: Plan) -> dict[str, Any]:
    feeds = _feeds(artifact)
    with TensorRtBackend(artifact, precision, name) as backend:
        found = [backend.time(feeds) for _ in range(WARM_UP + plan.runs)][WARM_UP:]
    columns = {key: [getattr(times, key) for times in found] for key in vars(found[0])}
    return {key: _percentiles(values) for key, values in columns.items()}


def _latency(
    artifact: Artifact, precision: Precision, names: list[str], plan: Plan
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    frame: ImageU8 = rng.integers(0, 256, (*plan.frame_hw, 3), dtype=np.uint8)
    with ExitStack() as stack:
        detectors = {
            name: stack.enter_context(Detector(artifact, open_backend(artifact, precision, name)))
            for name in names
        }
        runs = {name: _run_of(detector, frame) for name, detector in detectors.items()}
        found = take_turns(runs, plan.runs, WARM_UP, pause_s=0.0)
    return {
        name: {**latency.total_ms, **{f"{k}_p50": v for k, v in latency.stages_ms.items()}}
        for name, latency in found.items()
    }


def _run_of(detector: Detector, frame: ImageU8) -> Callable[[], Stages]:
    return lambda: detector.predict(frame).latency_ms


def _feeds(artifact: Artifact) -> dict[str, Array]:
    spec = artifact.manifest.preprocess
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, spec.height, spec.width, 3), dtype=np.uint8)
    return {"image": image, **read_golden_inputs(artifact)}


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(values, p)) for p in (50, 95, 99)}
