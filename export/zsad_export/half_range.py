"""Does everything fit into half precision? A CPU emulates FP16 in FP32 and hides an overflow.

So the gate looks at every FP16 tensor of the graph on the golden frames, with room to spare for
frames that it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import Array
from zsad_calibration.probing.probes import magnitude_probe, probed
from zsad_calibration.probing.runner import NO_CONSTANTS
from zsad_export.golden import GoldenFrame
from zsad_export.onnx_types import tensor_types

FP16_MAX = float(np.finfo(np.float16).max)

HEADROOM = 4.0
"""Production frames are not the golden ones: tensors must stay this factor below the largest
number that FP16 can hold."""


LIMIT = FP16_MAX / HEADROOM


@dataclass(frozen=True)
class Magnitude:
    """The largest absolute value of one FP16 tensor on one frame."""

    value: float
    tensor: str
    frame: str

    @property
    def fits(self) -> bool:
        """Whether it stays clear of overflow; a NaN does not."""
        return self.value <= LIMIT

    def describe(self) -> str:
        """Return the fault as text."""
        return (
            f"tensor '{self.tensor}' reaches {self.value:.4g} on {self.frame}, FP16 ends at "
            f"{FP16_MAX:.0f} and the gate at {LIMIT:.0f}"
        )


@dataclass(frozen=True)
class HalfRange:
    """What half precision must hold.

    Attributes:
        largest: The largest value of any FP16 tensor, weights included.
        first_over: The first tensor in graph order that is over the limit: the cause of others.
    """

    largest: float
    first_over: Magnitude | None


def measure_half_range(
    path: Path,
    frames: Sequence[GoldenFrame],
    spec: PreprocessSpec,
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> HalfRange:
    """Measure every FP16 tensor of the graph at `path` on every frame."""
    graph = onnx.load(str(path)).graph
    half = {name for name, kind in tensor_types(graph).items() if kind == "float16"}
    met = [_weight(w) for w in graph.initializer if w.name in half]
    computed = [name for node in graph.node for name in node.output if name in half]
    del graph
    with probed(path, computed, magnitude_probe, constants) as run:
        for frame in frames:
            found = run(resize_exact(frame.image_bgr, spec))
            met += [Magnitude(float(value), name, frame.name) for name, value in found.items()]
    return HalfRange(
        largest=float(np.max([m.value for m in met], initial=0.0)),  # a NaN stays a NaN
        first_over=next((m for m in met if not m.fits), None),
    )


def _weight(tensor: onnx.TensorProto) -> Magnitude:
    values = numpy_helper.to_array(tensor)
    return Magnitude(float(np.abs(values).max(initial=0)), tensor.name, "any frame")
