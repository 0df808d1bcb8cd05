"""What the activations of a graph look like on calibration frames, in one pass of flat memory.

Histograms, channel maxima and a few rows of each activation are taken inside the graph: what
leaves it is small, whatever the size of the model, and does not grow with the frames. (ONNX
Runtime's own calibrators keep every activation of every frame.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zsad.types import Array, ArrayF32, ImageU8
from zsad_calibration.int8.histogram import BINS, SMALLEST, Histogram
from zsad_calibration.probing.probes import Probe, probed_each
from zsad_calibration.probing.runner import NO_CONSTANTS

ROWS = 256
"""Rows kept of each activation, from all frames together: enough to weigh one way of quantizing a
linear against another."""

_Kind = Literal["histogram", "channels", "rows"]


@dataclass(frozen=True)
class Activation:
    """One activation over all calibration frames.

    Attributes:
        histogram: Of every magnitude that was met.
        channels: Largest magnitude per channel, (C,) float32.
        rows: Evenly spaced tokens of the frames, (R, C) float32.
    """

    histogram: Histogram
    channels: ArrayF32
    rows: ArrayF32

    def merged(self, other: Activation) -> Activation:
        """Return what both have met."""
        return Activation(
            self.histogram.merged(other.histogram),
            np.maximum(self.channels, other.channels),
            np.concatenate([self.rows, other.rows])[:ROWS],
        )


def observe(
    path: Path,
    tensors: Iterable[str],
    images: Sequence[ImageU8],
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> dict[str, Activation]:
    """Run the graph at `path` on every image and return what its `tensors` were.

    Args:
        path: The ONNX file; it is not changed.
        tensors: Names of float tensors (..., C).
        images: (H, W, 3) uint8 BGR at the graph's size; at least one.
        constants: What the graph takes beside images.
    """
    rows = max(1, ROWS // len(images))
    kinds: dict[_Kind, Probe] = {
        "histogram": histogram_probe,
        "channels": _channel_probe,
        "rows": _row_probe(rows),
    }
    probes = {(name, kind): (name, probe) for name in tensors for kind, probe in kinds.items()}
    seen: dict[str, Activation] = {}
    with probed_each(path, probes, constants) as run:
        for image in images:
            found = run(image)
            for name in dict.fromkeys(name for name, _ in probes):
                new = Activation(
                    read_histogram(found[name, "histogram"]),
                    found[name, "channels"],
                    found[name, "rows"][:rows],
                )
                seen[name] = seen[name].merged(new) if name in seen else new
    return seen


def histogram_probe(tensor: str, index: int) -> list[onnx.NodeProto]:
    """Report a tensor's `Histogram` as (BINS + 2,): the counts, the top and the largest."""
    n = _names(index)
    return [
        *_constants(
            {
                n("smallest"): np.float32(SMALLEST),
                n("octave"): np.float32(np.log(2.0)),
                n("two"): np.float32(2.0),
                n("bins"): np.float32(BINS),
                n("last"): np.float32(BINS - 1),
                n("none"): np.zeros(BINS, np.float32),
                n("flat"): np.array([-1], np.int64),
            }
        ),
        helper.make_node("Cast", [tensor], [n("f32")], to=TensorProto.FLOAT),
        helper.make_node("Reshape", [n("f32"), n("flat")], [n("values")]),
        helper.make_node("Abs", [n("values")], [n("magnitudes")]),
        helper.make_node("ReduceMax", [n("magnitudes")], [n("largest")], keepdims=1),
        helper.make_node("Max", [n("largest"), n("smallest")], [n("positive")]),
        helper.make_node("Log", [n("positive")], [n("log")]),
        helper.make_node("Div", [n("log"), n("octave")], [n("octaves")]),
        helper.make_node("Ceil", [n("octaves")], [n("exponent")]),
        helper.make_node("Pow", [n("two"), n("exponent")], [n("top")]),
        helper.make_node("Div", [n("bins"), n("top")], [n("per_unit")]),
        helper.make_node("Mul", [n("magnitudes"), n("per_unit")], [n("place")]),
        helper.make_node("Min", [n("place"), n("last")], [n("inside")]),
        helper.make_node("Cast", [n("inside")], [n("bin")], to=TensorProto.INT64),
        helper.make_node("Shape", [n("bin")], [n("count")]),
        helper.make_node(
            "ConstantOfShape",
            [n("count")],
            [n("ones")],
            value=numpy_helper.from_array(np.ones(1, np.float32)),
        ),
        helper.make_node(
            "ScatterElements",
            [n("none"), n("bin"), n("ones")],
            [n("counts")],
            axis=0,
            reduction="add",
        ),
        helper.make_node(
            "Concat", [n("counts"), n("top"), n("largest")], [f"probe_{index}"], axis=0
        ),
    ]


def read_histogram(report: ArrayF32) -> Histogram:
    """Return the histogram that `histogram_probe` reported."""
    return Histogram(report[:BINS].astype(np.float64), float(report[BINS]), float(report[-1]))


def _channel_probe(tensor: str, index: int) -> list[onnx.NodeProto]:
    n = _names(index)
    return [
        *_constants({n("axes"): np.array([0], np.int64)}),
        *_as_rows(tensor, n("matrix"), index),
        helper.make_node("Abs", [n("matrix")], [n("magnitudes")]),
        helper.make_node("ReduceMax", [n("magnitudes"), n("axes")], [f"probe_{index}"], keepdims=0),
    ]


def _row_probe(rows: int) -> Probe:
    """Report about `rows` rows, evenly spaced and less than twice as many, as (R, C)."""

    def probe(tensor: str, index: int) -> list[onnx.NodeProto]:
        n = _names(index)
        numbers = {"start": 0, "end": np.iinfo(np.int64).max, "axis": 0, "wanted": rows, "one": 1}
        return [
            *_constants({n(key): np.array([value], np.int64) for key, value in numbers.items()}),
            *_as_rows(tensor, n("matrix"), index),
            helper.make_node("Shape", [n("matrix")], [n("count")], start=0, end=1),
            helper.make_node("Div", [n("count"), n("wanted")], [n("spacing")]),
            helper.make_node("Max", [n("spacing"), n("one")], [n("step")]),
            helper.make_node(
                "Slice",
                [n("matrix"), n("start"), n("end"), n("axis"), n("step")],
                [f"probe_{index}"],
            ),
        ]

    return probe


def _names(index: int) -> Callable[[str], str]:
    return lambda part: f"probe_{index}.{part}"


def _as_rows(tensor: str, matrix: str, index: int) -> list[onnx.NodeProto]:
    wide = f"probe_{index}.f32"
    return [
        helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT),
        helper.make_node("Flatten", [wide], [matrix], axis=-1),
    ]


def _constants(values: Mapping[str, Array]) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))
        for name, value in values.items()
    ]
