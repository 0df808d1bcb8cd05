"""Every quantizer on the same graph and frames; those with packages of their own by subprocess.

`python int8_peers.py TOOL SOURCE FRAMES.npz TARGET` is what runs in such an environment: it needs
numpy, onnx and the tool, nothing of ours.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zsad.artifact import Artifact
    from zsad.types import Array, ImageU8
    from zsad_calibration.int8.planning import Settings

TIMEOUT_S = 3600


@dataclass(frozen=True)
class Made:
    """What one quantizer made: a graph, or why there is none."""

    name: str
    path: Path | None
    reason: str = ""


def write_all(
    artifact: Artifact,
    frames: Sequence[ImageU8],
    folder: Path,
    pythons: Mapping[str, Path | None],
) -> Iterator[Made]:
    """Yield the float32 graph itself and then what each quantizer makes of it.

    Args:
        artifact: What the graph is taken from.
        frames: Calibration frames at the graph's size.
        folder: Where graphs are written.
        pythons: Per tool the Python that has it, None where there is none.
    """
    from zsad.golden import read_golden_inputs

    source = _copied(artifact, folder)
    constants = read_golden_inputs(artifact)
    yield Made("float32", source)
    for name, settings in _own().items():
        yield _write_own(name, settings, source, frames, folder, constants)
    archive = folder / "frames.npz"
    stored: dict[str, Any] = {"image": np.stack(frames), **constants}
    np.savez(archive, **stored)
    for tool, python in {"onnxruntime": Path(sys.executable), **pythons}.items():
        for variant in VARIANTS[tool]:
            yield _write_peer(tool, variant, python, source, archive, folder)


def _copied(artifact: Artifact, folder: Path) -> Path:
    """Copy the float32 graph: some tools write beside what they read."""
    graph = artifact.graph("fp32")
    for name in filter(None, (graph.file, graph.data)):
        shutil.copyfile(artifact.file(name), folder / name)
    return folder / graph.file


def _own() -> dict[str, Settings]:
    from zsad_calibration.int8.planning import Settings

    return {
        "zsad": Settings(),
        "zsad, smoothing for any gain": Settings(worth=0.9),
        "zsad, no smoothing": Settings(alphas=()),
        "zsad, min-max, no smoothing": Settings("minmax", ()),
        "zsad, percentile, no smoothing": Settings("percentile", ()),
        "zsad, entropy, no smoothing": Settings("entropy", ()),
    }


def _write_own(
    name: str,
    settings: Settings,
    source: Path,
    frames: Sequence[ImageU8],
    folder: Path,
    constants: Mapping[str, Array],
) -> Made:
    from zsad_calibration.int8.planning import plan_int8
    from zsad_calibration.int8.qdq import write_int8

    target = folder / f"{name.replace(', ', '-').replace(' ', '-')}.onnx"
    write_int8(source, target, plan_int8(source, frames, constants, settings))
    return Made(name, target)


def _write_peer(
    tool: str, variant: str, python: Path | None, source: Path, archive: Path, folder: Path
) -> Made:
    name = f"{tool} {variant}"
    if python is None:
        return Made(name, None, f"no --{tool}-python given")
    target = folder / f"{tool}-{variant}.onnx"
    command = [python, __file__, tool, variant, source, archive, target]
    try:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Made(name, None, str(error).splitlines()[0])
    if done.returncode or not target.is_file():
        lines = done.stderr.strip().splitlines()
        return Made(name, None, lines[-1] if lines else f"ended with {done.returncode}")
    return Made(name, target)


def _feeds(archive: Path) -> list[dict[str, Any]]:
    with np.load(archive) as stored:
        constants = {key: stored[key] for key in stored if key != "image"}
        return [{"image": image[None], **constants} for image in stored["image"]]


def with_onnxruntime(variant: str, source: str, archive: Path, target: str) -> None:
    """Quantize with ONNX Runtime's static quantizer, symmetric and per channel."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the base comes with the package
        def __init__(self) -> None:
            self._feeds = iter(_feeds(archive))

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    quantize_static(
        source,
        target,
        Reader(),
        per_channel=True,
        calibrate_method=CalibrationMethod[variant],
        op_types_to_quantize=["MatMul", "Gemm"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )


def with_nncf(variant: str, source: str, archive: Path, target: str) -> None:
    """Quantize with NNCF's post-training quantization."""
    import nncf
    import onnx

    feeds = _feeds(archive)
    quantized = nncf.quantize(
        onnx.load(source),
        nncf.Dataset(feeds),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )
    onnx.save(quantized, target)


def with_modelopt(variant: str, source: str, archive: Path, target: str) -> None:
    """Quantize with NVIDIA's ModelOpt, the rest left in float32."""
    from modelopt.onnx.quantization import quantize

    feeds = _feeds(archive)
    data = {key: np.concatenate([feed[key] for feed in feeds]) for key in feeds[0]}
    quantize(
        source,
        quantize_mode="int8",
        calibration_data=data,
        calibration_method=variant,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=target,
    )


VARIANTS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("MinMax", "Percentile", "Entropy"),
    "nncf": ("transformer",),
    "modelopt": ("max", "entropy"),
}

_TOOLS = {"onnxruntime": with_onnxruntime, "nncf": with_nncf, "modelopt": with_modelopt}

if __name__ == "__main__":
    _tool, _variant, _source, _archive, _target = sys.argv[1:]
    _TOOLS[_tool](_variant, _source, Path(_archive), _target)
