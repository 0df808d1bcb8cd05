"""Which layer is to blame for a graph that is not its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from zsad.golden import GoldenFrame
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import Array
from zsad_export.graph_names import GraphPrecision
from zsad_export.layers import (
    LayerError,
    compare_layers,
    first_jump,
    trace_graph,
    trace_module,
)
from zsad_export.reference import reference_input

ROUNDING: Mapping[GraphPrecision, float] = {
    "fp32": 1e-4,
    "fp16": 5e-3,
    "int8": 5e-2,
    "int8_fp16": 5e-2,
}
"""Relative error of a layer that rounding alone explains; only used to find whom to blame."""


@dataclass(frozen=True)
class Blame:
    """Holds the layers of a graph against those of the reference, on one frame.

    Attributes:
        build: Makes the unbaked method.
        spec: The preprocessing.
        constants: What the graph takes beside images.
    """

    build: Callable[[], nn.Module]
    spec: PreprocessSpec
    constants: Mapping[str, Array]

    def first_layer(self, path: Path, frame: GoldenFrame, precision: GraphPrecision) -> str | None:
        """Return the first layer that differs by more than rounding; None if none does."""
        error = self._first(self._errors(path, frame), precision)
        return None if error is None else error.layer

    def describe(self, path: Path, frame: GoldenFrame, precision: GraphPrecision) -> str:
        """Return, as text, where the graph at `path` leaves the reference."""
        errors = self._errors(path, frame)
        error = self._first(errors, precision)
        if error is None:
            return "no layer differs, so the fault lies between the last layer and the outputs"
        if error is errors[0]:
            return f"already at the first layer, '{error.layer}', so the fault lies before it"
        return f"first at layer '{error.layer}' (relative error {error.relative:.2g})"

    def _errors(self, path: Path, frame: GoldenFrame) -> list[LayerError]:
        expected = trace_module(self.build(), reference_input(frame.image_bgr, self.spec))
        found = trace_graph(path, resize_exact(frame.image_bgr, self.spec), self.constants)
        return compare_layers(expected, found)

    @staticmethod
    def _first(errors: list[LayerError], precision: GraphPrecision) -> LayerError | None:
        error = first_jump(errors, ROUNDING[precision])
        return error if error is not None and error.relative > ROUNDING[precision] else None
