"""Which layer is to blame: the modules of two models, or of a model and its graph, side by side.

A module is known by the end of its path (`vision.blocks.3.mlp.c_fc`), so that a method, its baked
form and the graph can be compared although each wraps the tower differently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from zsad.types import Array, ArrayF32, ImageU8
from zsad_calibration.probing.probes import probed, sample_probe
from zsad_calibration.probing.runner import NO_CONSTANTS

SAMPLES = 1 << 14
"""Values kept of each layer: enough to see an error, little enough to hold every layer."""

JUMP = 5.0
"""A layer is to blame where the relative error grows by this factor at once."""

Key = tuple[str, int]
"""A leaf module's path and which of its calls."""


@dataclass(frozen=True)
class LayerError:
    """How far one layer's output is off, relative to the largest value of the reference."""

    layer: str
    relative: float


def trace_module(model: nn.Module, images: Tensor) -> dict[Key, ArrayF32]:
    """Run `model` and return samples of what each leaf module gave, in the order of the calls."""
    traced: dict[Key, ArrayF32] = {}
    calls: defaultdict[str, int] = defaultdict(int)

    def keep(path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                flat = output.detach().reshape(-1)
                traced[path, calls[path]] = flat[:: _step(flat.numel())].float().numpy().copy()
                calls[path] += 1

        return hook

    leaves = {p: m for p, m in model.named_modules() if not list(m.children())}
    handles = [module.register_forward_hook(keep(path)) for path, module in leaves.items()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return traced


def trace_graph(
    path: Path, image_bgr: ImageU8, constants: Mapping[str, Array] = NO_CONSTANTS
) -> dict[Key, ArrayF32]:
    """Run an exported graph and return samples of what each leaf module gave, in graph order."""
    model = onnx.load(str(path), load_external_data=False)
    tensors = _module_outputs(model.graph)
    sizes = _sizes(model.graph)
    del model
    steps = {name: _step(sizes[name]) for name in tensors.values()}
    with probed(path, steps, sample_probe(steps), constants) as run:
        found = run(image_bgr)
    return {key: found[name] for key, name in tensors.items()}


def _module_outputs(graph: onnx.GraphProto) -> dict[Key, str]:
    """Map each leaf module's calls to the tensors that leave it, by the names of the nodes."""
    module_of = {name: n.name.rpartition("/")[0] for n in graph.node for name in n.output}
    paths = set(module_of.values())
    inner = {path[:cut] for path in paths for cut in _dots(path)}
    leaving = {
        name
        for node in graph.node
        for name in node.input
        if module_of.get(name, "") != node.name.rpartition("/")[0]
    }
    found: dict[Key, str] = {}
    calls: defaultdict[str, int] = defaultdict(int)
    for name, path in module_of.items():
        if name in leaving and path not in inner and "." in path:
            found[path, calls[path]] = name
            calls[path] += 1
    return found


def _dots(path: str) -> list[int]:
    return [index for index, character in enumerate(path) if character == "."]


def _sizes(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the number of values of each tensor for a batch of one."""
    values = (*graph.value_info, *graph.output)
    shapes = {v.name: v.type.tensor_type.shape.dim for v in values}
    return {name: int(np.prod([d.dim_value or 1 for d in dims])) for name, dims in shapes.items()}


def _step(count: int) -> int:
    return max(1, count // SAMPLES)


def compare_layers(
    reference: Mapping[Key, ArrayF32], found: Mapping[Key, ArrayF32]
) -> list[LayerError]:
    """Return the error of every layer that both sides have, in the order of `found`."""
    errors = []
    for (path, call), values in found.items():
        expected = reference.get((_counterpart(path, reference), call))
        if expected is None or expected.shape != values.shape:
            continue
        scale = float(np.abs(expected).max()) or 1.0
        relative = float(np.abs(expected - values).max()) / scale
        errors.append(LayerError(path, float("inf") if np.isnan(relative) else relative))
    return errors


def _counterpart(path: str, reference: Mapping[Key, ArrayF32]) -> str:
    tail = path.partition(".")[2]
    matches = {p for p, _ in reference if p == tail or p.endswith(f".{tail}")}
    return matches.pop() if len(matches) == 1 else ""


def first_jump(errors: list[LayerError], floor: float) -> LayerError | None:
    """Return the first layer where the error jumps, or the worst layer if it only creeps.

    Args:
        errors: What `compare_layers` returned.
        floor: Relative error that rounding alone explains.
    """
    before = floor
    for error in errors:
        if error.relative > JUMP * before:
            return error
        before = max(before, error.relative)
    return max(errors, key=lambda error: error.relative, default=None)
