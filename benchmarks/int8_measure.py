"""What one INT8 graph is worth: parity on held-out images, size, speed and who takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from int8_peers import Made
from timing import Stages, take_turns, timed_run
from zsad.artifact import Artifact
from zsad.data import open_dataset
from zsad.golden import read_golden_inputs
from zsad.metrics import auroc
from zsad.preprocess import resize_exact
from zsad.types import Array, ArrayBool, ArrayF32, ImageU8
from zsad_calibration.probing.runner import GraphRunner

SEED = 27_182

LONGEST = 200
"""Characters of an error that a row quotes."""


@dataclass(frozen=True)
class HeldOut:
    """Images that no quantizer saw, and what the float32 graph says about them.

    Attributes:
        images: (H, W, 3) uint8 BGR at the graph's size.
        labels: (F,) bool, True where defective.
        constants: What the graph takes beside images.
        scores: (F,) float32.
        anomaly_maps: (F, H, W) float32.
    """

    images: tuple[ImageU8, ...]
    labels: ArrayBool
    constants: dict[str, Array]
    scores: ArrayF32
    anomaly_maps: ArrayF32

    @classmethod
    def of(cls, artifact: Artifact, spec: str, count: int) -> HeldOut:
        """Draw images of a data set's test split and run the float32 graph on them."""
        data = open_dataset(spec, split="test", seed=SEED, limit=count)
        samples = [data[index] for index in range(len(data))]
        images = tuple(resize_exact(s.image_bgr, artifact.manifest.preprocess) for s in samples)
        labels = np.array([sample.label == 1 for sample in samples])
        constants = read_golden_inputs(artifact)
        scores, maps = run(artifact.file(artifact.graph("fp32").file), images, constants)
        return cls(images, labels, constants, scores, maps)


@dataclass(frozen=True)
class Row:
    """One quantizer's graph against the float32 graph.

    Attributes:
        name: The quantizer.
        path: Its graph, None where there is none.
        reason: Why there is no graph, or no figure for it; empty where all is well.
        megabytes: Size of the graph.
        int8_products: MatMul and Gemm nodes whose both sides are dequantized.
        products: All MatMul and Gemm nodes.
        score_max_abs: Largest difference of a score.
        map_mean_abs: Mean difference of the maps.
        map_max_abs: Largest difference of a pixel.
        auroc_delta: Image AUROC minus the float32 graph's, in points.
        tensorrt_rtx: `accepted`, or what the compiler said.
        ort_speedup: Median time of the float32 graph over this one's, ONNX Runtime.
        openvino_speedup: The same on OpenVINO.
    """

    name: str
    path: Path | None = None
    reason: str = ""
    megabytes: float = 0.0
    int8_products: int = 0
    products: int = 0
    score_max_abs: float | None = None
    map_mean_abs: float | None = None
    map_max_abs: float | None = None
    auroc_delta: float | None = None
    tensorrt_rtx: str = ""
    ort_speedup: float | None = None
    openvino_speedup: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the row as plain JSON values, without where its graph was."""
        return {key: value for key, value in asdict(self).items() if key != "path"}

    def describe(self) -> str:
        """Return the parity as text, or the reason."""
        if self.map_mean_abs is None:
            return self.reason
        return (
            f"{self.int8_products} of {self.products} products, map off by {self.map_mean_abs:.2g} "
            f"on average, score by up to {self.score_max_abs:.2g}, {self.tensorrt_rtx}"
        )


def run(
    path: Path, images: Sequence[ImageU8], constants: dict[str, Array]
) -> tuple[ArrayF32, ArrayF32]:
    """Return scores (F,) and maps (F, H, W) of images, one at a time."""
    with GraphRunner(path, constants) as runner:
        found = [runner.run(image[None], ["score", "anomaly_map"]) for image in images]
    scores, maps = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return scores, maps


def measure(made: Made, held_out: HeldOut) -> Row:
    """Return everything but the speed of what one quantizer made."""
    if made.path is None:
        return Row(made.name, reason=made.reason)
    row = replace(_counted(made.path), name=made.name)
    try:
        scores, maps = run(made.path, held_out.images, held_out.constants)
    except Exception as error:  # whatever a foreign graph makes ONNX Runtime say
        return replace(row, reason=_short(error, made.path))
    off = np.abs(maps.astype(np.float64) - held_out.anomaly_maps)
    scores_off = np.abs(scores.astype(np.float64) - held_out.scores)
    aurocs = [auroc(values, held_out.labels) for values in (scores, held_out.scores)]
    return replace(
        row,
        score_max_abs=float(scores_off.max()),
        map_mean_abs=float(off.mean()),
        map_max_abs=float(off.max()),
        auroc_delta=100 * (aurocs[0] - aurocs[1]),
        tensorrt_rtx=compiles(made.path),
    )


def _counted(path: Path) -> Row:
    graph = onnx.load(str(path), load_external_data=False).graph
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    products = [n for n in graph.node if n.op_type in ("MatMul", "Gemm")]
    int8 = [n for n in products if dequantized.issuperset(n.input[:2])]
    size = path.stat().st_size / 1e6
    return Row("", path, megabytes=size, int8_products=len(int8), products=len(products))


def compiles(path: Path) -> str:
    """Return whether TensorRT-RTX takes a graph: its INT8 is weight-only, so no more than that.

    Whose weights are INT8 constants is not asked: ModelOpt leaves that to the compiler.
    """
    from zsad.engine_cache import BuildOptions
    from zsad.errors import ZsadError
    from zsad.tensorrt_package import RTX
    from zsad_export.tensorrt_api import Build, Compiler

    try:
        compiler = Compiler(RTX)
        build = Build(BuildOptions(max_batch=1), compiler.architectures([86]))
        compiler.compile(path, "fp32", build)
    except ZsadError as error:
        return f"refused: {_short(error, path)}"
    return "accepted"


def _short(error: Exception, path: Path) -> str:
    """Return the beginning of what is wrong with a graph, on one line that fits into a table."""
    line = " ".join(str(error).replace(str(path), path.name).replace("|", "/").split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def time_rows(rows: Sequence[Row], held_out: HeldOut, runs: int) -> list[Row]:
    """Return the rows with their speeds; on each engine all graphs take turns."""
    if runs == 0:
        return list(rows)
    usable = [row for row in rows if row.map_mean_abs is not None]
    on_ort, on_openvino = (_speedups(usable, held_out, runs, e) for e in (_on_ort, _on_openvino))
    return [
        replace(row, ort_speedup=on_ort.get(row.name), openvino_speedup=on_openvino.get(row.name))
        for row in rows
    ]


def _speedups(
    rows: Sequence[Row],
    held_out: HeldOut,
    runs: int,
    opened: Callable[[Path, HeldOut], Callable[[], Stages]],
) -> dict[str, float]:
    contenders = {row.name: opened(row.path, held_out) for row in rows if row.path is not None}
    timed = take_turns(contenders, runs, warm_up=3)
    medians = {name: latency.total_ms["p50"] for name, latency in timed.items()}
    return {name: medians["float32"] / value for name, value in medians.items()}


def _on_ort(path: Path, held_out: HeldOut) -> Callable[[], Stages]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {"image": held_out.images[0][None], **held_out.constants}
    return timed_run(lambda: session.run(["score", "anomaly_map"], feeds))


def _on_openvino(path: Path, held_out: HeldOut) -> Callable[[], Stages]:
    import openvino

    compiled: Any = openvino.Core().compile_model(str(path), "CPU")
    feeds = {"image": held_out.images[0][None], **held_out.constants}
    return timed_run(lambda: compiled(feeds))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| quantizer | MB | in INT8 | map off, mean | map off, max | score off | AUROC | "
        "TensorRT-RTX | ORT | OpenVINO |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.map_mean_abs is None:
            lines.append(f"| {row.name} | {row.reason} |" + " |" * 8)
            continue
        speeds = [
            "-" if s is None else f"{s:.2f}x" for s in (row.ort_speedup, row.openvino_speedup)
        ]
        lines.append(
            f"| {row.name} | {row.megabytes:.1f} | {row.int8_products} of {row.products} "
            f"| {row.map_mean_abs:.1e} | {row.map_max_abs:.1e} | {row.score_max_abs:.1e} "
            f"| {row.auroc_delta:+.2f} | {row.tensorrt_rtx} | {' | '.join(speeds)} |"
        )
    return "\n".join(lines)
