"""The reference that graphs are held against: the method as it was trained, in float32 PyTorch.

Nothing here is shared with the graph or the runtime: the frame goes through Pillow's resize as
RGB and the normalisation is written the textbook way, so that a fault in either shows up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from zsad.golden import GoldenFrame, GoldenOutputs, collect_outputs
from zsad.preprocess import PreprocessSpec, resize_exact
from zsad.types import AnomalyResult, Array, ImageU8
from zsad_calibration.probing.runner import NO_CONSTANTS
from zsad_export.graph import DeploymentGraph
from zsad_export.graph_names import OUTPUTS, TYPE_OUTPUTS
from zsad_train.methods.base import ClosedText, Method


def reference_input(frame_bgr: ImageU8, spec: PreprocessSpec) -> Tensor:
    """Return a camera frame as training saw it: (1, 3, H, W) float32, RGB, normalised."""
    image = Image.fromarray(np.ascontiguousarray(frame_bgr[..., ::-1]))
    narrow = image.resize((spec.width, image.height), Image.Resampling.BICUBIC)
    # In one call Pillow 13 would begin with the rows or the columns as it likes.
    resized = narrow.resize((spec.width, spec.height), Image.Resampling.BICUBIC)
    unit = torch.from_numpy(np.array(resized)).permute(2, 0, 1).double() / 255.0
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (spec.mean, spec.std))
    return ((unit - mean) / std).float()[None]


@torch.no_grad()
def run_reference(
    method: nn.Module, frames: Sequence[GoldenFrame], spec: PreprocessSpec
) -> GoldenOutputs:
    """Run the unbaked method on camera frames, one at a time."""
    return _collect([method(reference_input(frame.image_bgr, spec)) for frame in frames])


class ReferencePredictor:
    """The reference as a predictor of single frames, its text encoded once where it is constant."""

    def __init__(self, method: nn.Module, spec: PreprocessSpec) -> None:
        """Judge with `method`, which is not changed."""
        self._model = ClosedText(method).eval() if isinstance(method, Method) else method
        self._spec = spec

    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Judge a frame (H, W, 3) uint8 BGR of any size; the verdict is always UNCALIBRATED."""
        found = run_reference(self._model, [GoldenFrame("image", frame_bgr)], self._spec)
        return AnomalyResult(float(found.scores[0]), found.anomaly_maps[0])


@torch.no_grad()
def run_graph_module(
    graph: DeploymentGraph,
    frames: Sequence[GoldenFrame],
    spec: PreprocessSpec,
    constants: Mapping[str, Array] = NO_CONSTANTS,
) -> GoldenOutputs:
    """Run a deployment graph in PyTorch on camera frames, one at a time.

    For a half-precision graph this is true half precision: unlike ONNX Runtime on a CPU, every
    result is rounded and overflows.
    """
    images = (torch.from_numpy(resize_exact(frame.image_bgr, spec).copy()) for frame in frames)
    inputs = {name: torch.from_numpy(value) for name, value in constants.items()}
    return _collect([graph(image[None], **inputs) for image in images])


def _collect(predictions: Sequence[tuple[Tensor, ...]]) -> GoldenOutputs:
    outputs = [torch.cat(parts).numpy() for parts in zip(*predictions, strict=True)]
    return collect_outputs(dict(zip((*OUTPUTS, *TYPE_OUTPUTS), outputs, strict=False)))
