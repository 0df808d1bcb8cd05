"""ONNX Runtime's CUDA graphs: what one run launches is recorded once per shape and replayed.

A replay reads and writes the addresses of the recording, hence memory of its own on the device for
every shape, and one graph number per shape (onnxruntime.ai, "CUDA Execution Provider", "Using CUDA
Graphs"; run option `gpu_graph_id`, where -1 records nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsad.types import Array

_GRAPH_ID = "gpu_graph_id"
_UNRECORDED = "-1"


@dataclass(frozen=True)
class _Recording:
    """Memory on the device that a recorded run reads and writes, and how to ask for that run."""

    binding: Any
    inputs: Mapping[str, Any]
    outputs: tuple[Any, ...]
    options: Any


class SessionReplay:
    """Runs a session that records CUDA graphs."""

    def __init__(self, ort: Any, session: Any, device: str = "cuda") -> None:
        """Run `session` with its tensors on `device`, as ONNX Runtime names devices."""
        self._ort = ort
        self._session = session
        self._device = device
        self._recordings: dict[tuple[object, ...], _Recording] = {}

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Return the outputs `names`, in order; the first run of a shape records it."""
        arrays = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        key = tuple((name, value.shape, value.dtype.str) for name, value in sorted(arrays.items()))
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._bind(names, arrays, len(self._recordings) + 1)
            self._recordings[key] = recording
        for name, value in arrays.items():
            recording.inputs[name].update_inplace(value)
        self._session.run_with_iobinding(recording.binding, recording.options)
        # The next run writes into the same memory, which a device may show rather than copy.
        return [np.array(output.numpy()) for output in recording.outputs]

    def _bind(self, names: Sequence[str], arrays: Mapping[str, Array], number: int) -> _Recording:
        value_of = self._ort.OrtValue
        shapes = self._session.run(list(names), dict(arrays), self._options(_UNRECORDED))
        inputs = {n: value_of.ortvalue_from_numpy(a, self._device, 0) for n, a in arrays.items()}
        outputs = tuple(
            value_of.ortvalue_from_shape_and_type(list(like.shape), like.dtype, self._device, 0)
            for like in shapes
        )
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(names, outputs, strict=True):
            binding.bind_ortvalue_output(name, value)
        return _Recording(binding, inputs, outputs, self._options(str(number)))

    def _options(self, graph: str) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry(_GRAPH_ID, graph)
        return options
