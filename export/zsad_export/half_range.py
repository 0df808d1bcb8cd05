"""Does everything fit into half precision? A CPU emulates FP16 in FP32 and hides an overflow.

So the gate looks at every FP16 tensor of the graph on the golden frames, with room to spare for
frames that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from zsad.preprocess import PreprocessSpec, resize_exact
from zsad_export.golden import GoldenFrame
from zsad_export.onnx_types import tensor_types
from zsad_export.probes import magnitude_probe, probed

FP16_MAX = float(np.finfo(np.float16).max)

HEADROOM = 4.0
"""Production frames are not the golden ones: tensors must stay this factor below the largest
number that FP16 can hold."""


@dataclass(frozen=True)
class LargestMagnitude:
    """The largest absolute value met in any FP16 tensor, and where."""

    value: float
    tensor: str
    frame: str

    @property
    def fits(self) -> bool:
        """Whether it stays clear of overflow; a NaN does not."""
        return self.value <= FP16_MAX / HEADROOM

    def describe(self) -> str:
        """Return the fault as text."""
        return (
            f"tensor '{self.tensor}' reaches {self.value:.4g} on {self.frame}, FP16 ends at "
            f"{FP16_MAX:.0f} and the gate at {FP16_MAX / HEADROOM:.0f}"
        )


def largest_magnitude(
    path: Path, frames: Sequence[GoldenFrame], spec: PreprocessSpec
) -> LargestMagnitude:
    """Return the largest magnitude of any FP16 tensor of the graph, weights included."""
    graph = onnx.load(str(path)).graph
    half = {name for name, kind in tensor_types(graph).items() if kind == "float16"}
    met = [_largest_weight(graph)]
    computed = [name for node in graph.node for name in node.output if name in half]
    del graph
    with probed(path, computed, magnitude_probe) as run:
        for frame in frames:
            found = run(resize_exact(frame.image_bgr, spec))
            met += [LargestMagnitude(float(v), name, frame.name) for name, v in found.items()]
    return max(met, key=lambda m: np.inf if np.isnan(m.value) else m.value)


def _largest_weight(graph: onnx.GraphProto) -> LargestMagnitude:
    largest = LargestMagnitude(0.0, "", "any frame")
    for weight in graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT16 and weight.dims != [0]:
            value = float(np.abs(numpy_helper.to_array(weight)).max(initial=0))
            if not value <= largest.value:
                largest = LargestMagnitude(value, weight.name, "any frame")
    return largest
