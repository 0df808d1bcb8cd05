"""Does everything fit into half precision? A CPU emulates FP16 in FP32 and hides an overflow.

So the gate looks at every FP16 tensor of the graph on the golden frames, with room to spare for
frames that it has not seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from zsad.golden import GoldenFrame
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import Array
from zsad_calibration.probing.probes import magnitude_probe, probed
from zsad_calibration.probing.runner import NO_CONSTANTS
from zsad_export.onnx_types import tensor_types
from zsad_export.twins import vanishing
from zsad_export.widen import unit_of

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
    met = list(_magnitudes(path, _half_tensors(path), frames, spec, constants))
    return HalfRange(
        largest=float(np.max([m.value for m in met], initial=0.0)),  # a NaN stays a NaN
        first_over=next((m for m in met if not m.fits), None),
    )


def float32_modules(
    half: Path,
    exact: Path,
    frames: Sequence[GoldenFrame],
    spec: PreprocessSpec,
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> tuple[str, ...]:
    """Return the modules that half precision cannot hold, in graph order, as `unit_of` names them.

    They are those that write or read a tensor which comes near to overflowing, measured where
    nothing overflows, in the float32 graph; and those with weights too small for half precision.

    Args:
        half: The half-precision graph.
        exact: The float32 graph of the same model.
        frames: What to measure on.
        spec: Their preprocessing.
        constants: What the graph takes beside images.
    """
    met = _magnitudes(exact, _half_tensors(half), frames, spec, constants)
    over = {m.tensor for m in met if not m.fits}
    lost = set(vanishing(half, exact))
    nodes = onnx.load(str(half), load_external_data=False).graph.node
    units = [
        unit_of(node.name)
        for node in nodes
        if node.name in lost or not over.isdisjoint((*node.input, *node.output))
    ]
    return tuple(dict.fromkeys(units))


def _half_tensors(path: Path) -> set[str]:
    graph = onnx.load(str(path), load_external_data=False).graph
    return {name for name, kind in tensor_types(graph).items() if kind == "float16"}


def _magnitudes(
    path: Path,
    tensors: Collection[str],
    frames: Sequence[GoldenFrame],
    spec: PreprocessSpec,
    constants: Mapping[str, Array],
) -> Iterator[Magnitude]:
    """Give the largest value of those `tensors` that the graph has, weights first."""
    graph = onnx.load(str(path)).graph
    yield from [_weight(w) for w in graph.initializer if w.name in tensors]
    computed = [name for node in graph.node for name in node.output if name in tensors]
    del graph
    with probed(path, computed, magnitude_probe, constants) as run:
        for frame in frames:
            found = run(resize_exact(frame.image_bgr, spec))
            for name, value in found.items():
                yield Magnitude(float(value), name, frame.name)


def _weight(tensor: onnx.TensorProto) -> Magnitude:
    values = numpy_helper.to_array(tensor)
    return Magnitude(float(np.abs(values).max(initial=0)), tensor.name, "any frame")
