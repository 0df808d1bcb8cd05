"""What other tools make of an artifact's FP32 graph when they convert it to FP16, beside ours.

    python benchmarks/fp16_tools.py dive/ --modelopt PYTHON --json fp16-tools.json

Ours is exported from the half-precision model; the others rewrite the float32 graph. A tool that
is not installed is left out; NVIDIA ModelOpt brings its own onnxruntime-gpu, so it is run by the
Python of an environment of its own. The NVIDIA compiler says whether it takes each, if it is there.
"""

from __future__ import annotations

import importlib
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from options import json_option
from zsad.command import Command

if TYPE_CHECKING:
    from zsad.artifact import Artifact

LIBRARIES = {
    "onnxruntime.transformers": "onnxruntime.transformers.float16",
    "onnxconverter-common": "onnxconverter_common.float16",
}
"""Converters that are a function of a model, by what provides them."""

Convert = Callable[[Path, Path], None]
"""Writes the half-precision form of the first graph to the second path."""


@dataclass(frozen=True)
class Outcome:
    """What a tool made of the graph; everything but `tool` and `fault` is None where it failed.

    Attributes:
        tool: Its name.
        fault: The first line of what went wrong: converting, loading or running.
        score_max_abs: Largest difference of the golden frames' scores from PyTorch.
        map_max_abs: Largest difference of their maps.
        casts: Cast operators in the graph.
        layer_norms: LayerNormalization operators that are still one node.
        compiled: What the NVIDIA compiler says; None where it is not installed.
    """

    tool: str
    fault: str | None = None
    score_max_abs: float | None = None
    map_max_abs: float | None = None
    casts: int | None = None
    layer_norms: int | None = None
    compiled: str | None = None


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--modelopt", metavar="PYTHON", help="Of an environment with nvidia-modelopt[onnx].")
@json_option
def main(artifact: Path, modelopt: str | None, json_path: Path | None) -> None:
    """Convert the FP32 graph of ARTIFACT with every tool at hand and hold each to golden frames."""
    from machine import describe
    from zsad.artifact import Artifact
    from zsad.evaluate.tables import aligned
    from zsad.schema import write_json

    opened = Artifact.open(artifact)
    outcomes = [outcome_of(name, tool, opened) for name, tool in tools(opened, modelopt).items()]
    click.echo("\n".join(aligned(table(outcomes))))
    if json_path is not None:
        subject = {"artifact_sha256": opened.sha256, "method": opened.manifest.method.name}
        write_json(json_path, {"subject": subject, "outcomes": outcomes, "machine": describe()})
        click.echo(str(json_path))


def tools(artifact: Artifact, modelopt: str | None) -> dict[str, Convert]:
    """Return what can convert on this machine, ours first."""
    ours = artifact.file(artifact.graph("fp16").file)
    found: dict[str, Convert] = {"ours": partial(_copy, ours)}
    for name, module in LIBRARIES.items():
        try:
            converter = importlib.import_module(module)
        except ImportError:
            click.echo(f"{name} is not installed: left out", err=True)
            continue
        found[name] = partial(_library, converter)
    if modelopt is not None:
        found["ModelOpt AutoCast"] = partial(_autocast, modelopt, artifact)
    return found


def _copy(ours: Path, source: Path, out: Path) -> None:
    del source  # it was exported, not converted
    out.write_bytes(ours.read_bytes())


def _library(converter: Any, source: Path, out: Path) -> None:
    import onnx

    onnx.save(converter.convert_float_to_float16(onnx.load(source), keep_io_types=True), out)


def _autocast(python: str, artifact: Artifact, source: Path, out: Path) -> None:
    """Run AutoCast on a golden frame; the frames that it makes up itself are no bytes."""
    import numpy as np

    from zsad.golden import read_golden, read_golden_inputs
    from zsad.preprocess import resize_exact

    frames, _ = read_golden(artifact)
    image = resize_exact(frames[0].image_bgr, artifact.manifest.preprocess)[None]
    seen = out.with_name("frame.npz")
    np.savez(seen, **{"image": image, **read_golden_inputs(artifact)})  # type: ignore[arg-type]
    command = [python, "-m", "modelopt.onnx.autocast", "--onnx_path", str(source)]
    command += ["--output_path", str(out), "--keep_io_types", "--calibration_data", str(seen)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it failed silently"])[-1])


def outcome_of(name: str, convert: Convert, artifact: Artifact) -> Outcome:
    """Convert, run and compile; whatever a tool does wrong is an outcome."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.fp16.onnx"
        try:
            convert(artifact.file(artifact.graph("fp32").file), path)
            errors = _golden_errors(path, artifact)
        except Exception as error:  # what other tools raise shares no base class
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Outcome(name, line.replace(f"{folder}/", ""))
        ops = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
        compiled = _compiled(path)
    return Outcome(name, None, *errors, ops["Cast"], ops["LayerNormalization"], compiled)


def _golden_errors(path: Path, artifact: Artifact) -> tuple[float, float]:
    from zsad.golden import read_golden, read_golden_inputs
    from zsad.parity import LIMITS, compare
    from zsad_export.replay import replay_onnx

    frames, reference = read_golden(artifact)
    constants = read_golden_inputs(artifact)
    found = replay_onnx(path, frames, artifact.manifest.preprocess, constants)
    names = [frame.name for frame in frames]
    parity = compare(names, reference, found.without_type_maps(), LIMITS["fp16"])
    return parity.score_max_abs, parity.map_max_abs


def _compiled(path: Path) -> str | None:
    from zsad.engine_cache import BuildOptions
    from zsad.errors import EngineError, MissingExtraError
    from zsad.tensorrt_package import RTX
    from zsad_export.tensorrt_api import Build, Compiler

    try:
        compiler = Compiler(RTX)
    except MissingExtraError:
        return None
    try:
        # What stays in float32 is the tool's choice, so all of the model may.
        targets = compiler.architectures((86,))
        build = Build(BuildOptions(max_batch=1), targets, float32=["detector"])
        types = compiler.compile(path, "fp16", build).types
    except EngineError as error:
        return str(error)
    float32 = len(types.head) + len(types.islands)
    return f"yes, {len(types.half)} products in FP16 and {float32} in FP32"


def table(outcomes: list[Outcome]) -> list[list[str]]:
    """Return the outcomes as cells, a row per tool."""
    head = ["tool", "score off by", "map off by", "casts", "LayerNorms", "TensorRT-RTX compiles it"]
    return [head, *(_row(outcome) for outcome in outcomes)]


def _row(outcome: Outcome) -> list[str]:
    if outcome.fault is not None:
        return [outcome.tool, "-", "-", "-", "-", f"fails: {outcome.fault}"]
    errors = (f"{error:.1e}" for error in (outcome.score_max_abs, outcome.map_max_abs))
    counts = (str(count) for count in (outcome.casts, outcome.layer_norms))
    return [outcome.tool, *errors, *counts, outcome.compiled or "not installed"]


if __name__ == "__main__":
    main()
