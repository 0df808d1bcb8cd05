"""The checks behind `gpu_check.py`, as data and as a table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

import machine
from timing import Stages, take_turns
from zsad.artifact import Artifact
from zsad.backends.cuda_memory import CUDA_PYTHON, PYCUDA, open_cuda
from zsad.backends.tensorrt import TensorRtBackend
from zsad.detector import Detector
from zsad.device import find_gpu
from zsad.errors import InputError, ParityError, ZsadError
from zsad.manifest import PRECISIONS, Precision
from zsad.preprocess import resize_exact
from zsad.tensorrt_package import NATIVE, RTX, load_tensorrt
from zsad.types import Array, ImageU8
from zsad_export.engine import BuiltEngine, build_native_engine, build_rtx_engine
from zsad_export.golden import collect_outputs, read_golden, read_golden_inputs
from zsad_export.parity import LIMITS, compare

SCHEMA = 1
WARM_UP = 20
BACKENDS = ("tensorrt", "tensorrt-graph", "tensorrt-rtx")
Status = Literal["ok", "absent", "missing", "parity", "failed"]
"""`absent` is optional and not there, `missing` is not there and stops something."""

_EXIT_CODES: Mapping[Status, int] = {"ok": 0, "absent": 0, "missing": 2, "parity": 3, "failed": 4}
_ROUND_TRIP = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What to check: an artifact (None makes one), timed runs and the camera frame's size."""

    artifact: Path | None
    runs: int
    frame_hw: tuple[int, int]


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        name: What was checked.
        status: How it ended.
        detail: The reason, in one line, where it did not end well.
        figures: What was found, as plain JSON values.
        seconds: How long it took.
    """

    name: str
    status: Status
    detail: str
    figures: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class GpuReport:
    """One run of the check."""

    schema: int
    machine: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 where all held, else the worst of 2 missing, 3 parity, 4 failed."""
        return max(_EXIT_CODES[finding.status] for finding in self.findings)


@dataclass
class _Checks:
    """Findings as they come in; a check that fails does not stop those that do not need it."""

    findings: list[Finding] = field(default_factory=list)

    def run(
        self, name: str, check: Callable[[], Mapping[str, Any]], optional: bool = False
    ) -> bool:
        """Run a check, record how it ended, and return whether it held."""
        begin = time.perf_counter()
        status: Status = "ok"
        detail, figures = "", {}
        try:
            figures = dict(check())
        except (InputError, ImportError) as error:
            status, detail = "absent" if optional else "missing", str(error)
        except ParityError as error:
            status, detail = "parity", str(error)
        except ZsadError as error:
            status, detail = "failed", str(error)
        seconds = round(time.perf_counter() - begin, 3)
        self.findings.append(Finding(name, status, _one_line(detail), figures, seconds))
        return status == "ok"


def check_gpu(plan: Plan) -> GpuReport:
    """Run every check of this machine's GPU, and record what is missing for the others."""
    checks = _Checks()
    has_gpu = checks.run("driver", _driver)
    packages = [NATIVE] if checks.run(NATIVE, partial(_package, NATIVE)) else []
    packages += [RTX] if checks.run(RTX, partial(_package, RTX), optional=True) else []
    for library in (PYCUDA, CUDA_PYTHON):
        checks.run(library, partial(_round_trip, library), optional=True)
    with _artifact(plan, checks) as artifact:
        if artifact is not None and has_gpu:
            for precision in [p for p in PRECISIONS if p in artifact.manifest.graphs]:
                _check_graph(checks, artifact, precision, packages, plan)
    return GpuReport(SCHEMA, machine.describe(), tuple(checks.findings))


def text(report: GpuReport) -> str:
    """Return the findings as lines for a terminal."""
    lines = []
    for found in report.findings:
        said = found.detail or ", ".join(f"{k} {_short(v)}" for k, v in found.figures.items())
        lines.append(f"{found.status:<8}{found.name:<28}{said}")
    return "\n".join(lines)


def _one_line(detail: str) -> str:
    # The JSON is sent to others, whom the owner's name does not concern.
    return " ".join(detail.split()).replace(str(Path.home()), "~")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_short(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _driver() -> dict[str, Any]:
    gpu = find_gpu()
    return {"gpu": gpu.name, "sm": gpu.sm}


def _package(name: str) -> dict[str, Any]:
    return {"version": str(load_tensorrt(name).__version__)}


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
def _artifact(plan: Plan, checks: _Checks) -> Iterator[Artifact | None]:
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
    from zsad_train.checkpoint import untrained_checkpoint

    checkpoint = untrained_checkpoint("winclip", "object", "tiny", pretrained=None, image_size=None)
    export_checkpoint(checkpoint, out, fp16=True)


def _check_graph(
    checks: _Checks, artifact: Artifact, precision: Precision, packages: list[str], plan: Plan
) -> None:
    built = [
        package
        for package in packages
        if checks.run(f"build {precision} {package}", partial(_build, artifact, precision, package))
    ]
    held = [
        name
        for name in BACKENDS
        if (RTX if name == "tensorrt-rtx" else NATIVE) in built
        and checks.run(f"parity {precision} {name}", partial(_parity, artifact, precision, name))
    ]
    for name in held:
        times = partial(_times, artifact, precision, name, plan)
        checks.run(f"gpu time {precision} {name}", times)
    if held:
        checks.run(f"latency {precision}", partial(_latency, artifact, precision, held, plan))


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
    frames, reference = read_golden(artifact)
    constants = read_golden_inputs(artifact)
    spec = artifact.manifest.preprocess
    with TensorRtBackend(artifact, precision, name) as backend:
        rows = [
            backend.infer({"image": resize_exact(frame.image_bgr, spec)[None], **constants})
            for frame in frames
        ]
    joined = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    joined.pop("type_map", None)  # the reference keeps no maps of types
    parity = compare(
        [f.name for f in frames],
        reference,
        collect_outputs(joined),
        LIMITS[precision],  # type: ignore[index]
    )
    if not parity.passed:
        raise ParityError(f"{parity.worst.name}: {parity.worst.describe()}")
    return {
        "frames": len(frames),
        "score_max_abs": max(frame.score_abs for frame in parity.frames),
        "map_max_abs": max(frame.map_max_abs for frame in parity.frames),
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
            name: stack.enter_context(
                Detector(artifact, TensorRtBackend(artifact, precision, name))
            )
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
