"""Probes: a copy of a graph that also reports on its own inner tensors.

Each probe shrinks its tensor inside the graph, so that looking at every tensor of a ViT-L costs no
memory: the tensor itself is freed as soon as the graph has used it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zsad.types import Array, ArrayF32, ImageU8
from zsad_calibration.probing.runner import NO_CONSTANTS, GraphRunner

K = TypeVar("K")

Probe = Callable[[str, int], list[onnx.NodeProto]]
"""Makes the nodes that turn tensor `name` into the float32 output `probe_<index>`."""


def magnitude_probe(tensor: str, index: int) -> list[onnx.NodeProto]:
    """Report the largest absolute value of a tensor, as one number."""
    wide, positive = f"probe_{index}.f32", f"probe_{index}.abs"
    return [
        helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT),
        helper.make_node("Abs", [wide], [positive]),
        helper.make_node("ReduceMax", [positive], [f"probe_{index}"], keepdims=0),
    ]


def clipped_probe(limits: Mapping[str, float]) -> Probe:
    """Report which share of a tensor's values is beyond +-`limits[tensor]`."""

    def probe(tensor: str, index: int) -> list[onnx.NodeProto]:
        names = {key: f"probe_{index}.{key}" for key in ("f32", "abs", "limit", "over", "one")}
        limit = numpy_helper.from_array(np.array(limits[tensor], np.float32))
        return [
            helper.make_node("Constant", [], [names["limit"]], value=limit),
            helper.make_node("Cast", [tensor], [names["f32"]], to=TensorProto.FLOAT),
            helper.make_node("Abs", [names["f32"]], [names["abs"]]),
            helper.make_node("Greater", [names["abs"], names["limit"]], [names["over"]]),
            helper.make_node("Cast", [names["over"]], [names["one"]], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [names["one"]], [f"probe_{index}"], keepdims=0),
        ]

    return probe


def sample_probe(steps: Mapping[str, int]) -> Probe:
    """Report every `steps[tensor]`-th value of a tensor, flattened in row-major order."""

    def probe(tensor: str, index: int) -> list[onnx.NodeProto]:
        wide, flat = f"probe_{index}.f32", f"probe_{index}.flat"
        names = {key: f"probe_{index}.{key}" for key in ("shape", "start", "end", "axis", "step")}
        numbers = (-1, 0, np.iinfo(np.int64).max, 0, steps[tensor])
        constants = [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(_vector(number)))
            for name, number in zip(names.values(), numbers, strict=True)
        ]
        window = [names["start"], names["end"], names["axis"], names["step"]]
        return [
            *constants,
            helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [wide, names["shape"]], [flat]),
            helper.make_node("Slice", [flat, *window], [f"probe_{index}"]),
        ]

    return probe


def _vector(number: int) -> Array:
    return np.array([number], dtype=np.int64)


@contextmanager
def probed(
    path: Path,
    tensors: Iterable[str],
    probe: Probe,
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> Iterator[Callable[[ImageU8], dict[str, ArrayF32]]]:
    """Give a function that runs one image and returns what the probes of `tensors` report.

    Args:
        path: The ONNX file; it is not changed.
        tensors: Names of the tensors to look at.
        probe: What to report of each.
        constants: What the graph takes beside images.
    """
    with probed_each(path, {name: (name, probe) for name in tensors}, constants) as run:
        yield run


@contextmanager
def probed_each(
    path: Path,
    probes: Mapping[K, tuple[str, Probe]],
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> Iterator[Callable[[ImageU8], dict[K, ArrayF32]]]:
    """Give a function that runs one image and returns what every probe reports, by its key.

    Args:
        path: The ONNX file; it is not changed.
        probes: Per key a tensor and what to report of it; a tensor may have several probes.
        constants: What the graph takes beside images.
    """
    outputs = [f"probe_{index}" for index in range(len(probes))]
    copy = path.with_name(f".{path.name}.{os.getpid()}.probe")  # beside its external weights
    try:
        _write_probed(path, copy, list(probes.values()))
        with GraphRunner(copy, constants) as runner:

            def run(image_bgr: ImageU8) -> dict[K, ArrayF32]:
                found = runner.run(image_bgr[None], outputs)
                return dict(zip(probes, found, strict=True))

            yield run
    finally:
        copy.unlink(missing_ok=True)


def _write_probed(path: Path, copy: Path, probes: Sequence[tuple[str, Probe]]) -> None:
    model = onnx.load(str(path), load_external_data=False)
    for index, (name, probe) in enumerate(probes):
        model.graph.node.extend(probe(name, index))
        output = helper.make_tensor_value_info(f"probe_{index}", TensorProto.FLOAT, None)
        model.graph.output.append(output)
    onnx.save(model, str(copy))
