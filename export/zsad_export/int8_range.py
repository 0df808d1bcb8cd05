"""Do the INT8 ranges fit what they were calibrated on? One that does not loses bits in silence.

A range ten times too wide leaves five of eight bits, one ten times too narrow cuts most values off.
On one linear of many the score hardly moves either way, and no limit on scores and maps sees it; so
the gate looks at every range on calibration frames. Not on golden ones: those need not look like
the user's parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from zsad.types import Array, ImageU8
from zsad_calibration.probing.probes import Probe, clipped_probe, magnitude_probe, probed_each
from zsad_calibration.probing.runner import NO_CONSTANTS

LEAST_USED = 0.2
"""Share of an activation's range that the frames must reach. Calibrated ranges of ViTs were seen to
be reached to 0.7 and more by frames that had no part in the calibration."""

MOST_CLIPPED = 0.05
"""Share of an activation's values that may lie beyond its range. Calibrators cut off outliers,
which are few."""

_LARGEST_CODE = 127


@dataclass(frozen=True)
class UsedRange:
    """What the frames do with the range of one quantized activation.

    Attributes:
        node: Its QuantizeLinear node.
        range: Largest magnitude that INT8 represents there.
        reached: Largest magnitude on any frame.
        clipped: Mean share of values beyond the range.
    """

    node: str
    range: float
    reached: float
    clipped: float

    @property
    def fault(self) -> str | None:
        """What is wrong with the range, None if it fits."""
        what = f"the INT8 range of '{self.node}' ends at {self.range:.4g}"
        if not self.reached >= LEAST_USED * self.range:  # nor a NaN
            return f"{what}, and no calibration frame passes {self.reached:.4g}: it is too wide"
        if not self.clipped <= MOST_CLIPPED:
            return f"{what} and cuts off {self.clipped:.0%} of the values: it is too narrow"
        return None


def used_ranges(
    path: Path,
    images: Sequence[ImageU8],
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> list[UsedRange]:
    """Measure every quantized activation of the graph at `path`, in graph order.

    Args:
        path: The ONNX file.
        images: Frames at the graph's size, (H, W, 3) uint8 BGR.
        constants: What the graph takes beside images.
    """
    ranges = {node: (tensor, largest) for node, tensor, largest in _ranges(path)}
    probes: dict[tuple[str, str], tuple[str, Probe]] = {}
    for node, (tensor, largest) in ranges.items():
        probes["reached", node] = tensor, magnitude_probe
        probes["clipped", node] = tensor, clipped_probe({tensor: largest})
    with probed_each(path, probes, constants) as run:
        found = [run(image) for image in images]
    return [
        UsedRange(
            node,
            largest,
            reached=float(np.max([each["reached", node] for each in found])),
            clipped=float(np.mean([each["clipped", node] for each in found])),
        )
        for node, (_, largest) in ranges.items()
    ]


def _ranges(path: Path) -> Iterator[tuple[str, str, float]]:
    """Give node, tensor and largest magnitude of every quantized activation."""
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored:
            scale = numpy_helper.to_array(stored[node.input[1]])
            yield node.name, node.input[0], _LARGEST_CODE * float(scale)
