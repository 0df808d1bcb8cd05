"""The stem's frozen network at the speed of an inference engine.

What is not learned needs no autograd: ONNX Runtime takes under half of eager PyTorch's time here,
and a training step spends a third of its own in the stem.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import onnxruntime
import torch
from torch import Tensor

from zsad_train.tiny.stem import FeatureMaps, Features


def frozen(features: Features, size: int) -> Callable[[Tensor], FeatureMaps]:
    """Return a function equal to `features`, for images of `size` px; threads may share it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        example = torch.zeros(2, 3, size, size)
        batch = torch.export.Dim("batch", min=1, max=4096)
        program = torch.onnx.export(
            features, (example,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
        )
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # shards run side by side
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> FeatureMaps:
        fine, middle, coarse = session.run(None, {name: images.numpy()})
        return torch.from_numpy(fine), torch.from_numpy(middle), torch.from_numpy(coarse)

    return run
