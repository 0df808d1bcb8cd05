"""A checkpoint as a detector in PyTorch: the reference that exported graphs are held against."""

from __future__ import annotations

from pathlib import Path

import torch

from zsad.preprocess import PreprocessSpec
from zsad.types import AnomalyResult, ImageU8
from zsad_train.batches import preprocess_spec, to_tensor
from zsad_train.checkpoint import build_method, load_checkpoint
from zsad_train.methods.base import ClosedText, Method


class CheckpointPredictor:
    """Scores frames with a trained method, its text encoded once.

    Attributes:
        method: The method behind it.
        spec: Its preprocessing.
    """

    def __init__(self, method: Method, device: str = "cpu") -> None:
        """Bake `method` onto `device`."""
        self.method = method
        self.spec: PreprocessSpec = preprocess_spec(method.backbone.info)
        self._device = torch.device(device)
        self._model = ClosedText(method).to(self._device)

    @classmethod
    def load(
        cls, path: Path, *, pretrained: str | None = None, device: str = "cpu"
    ) -> CheckpointPredictor:
        """Read the checkpoint `path`.

        Args:
            path: What `zsad-train` wrote.
            pretrained: Where the backbone's weights are now, if they have moved since training.
            device: Where to run.

        Raises:
            InputError: The checkpoint or its backbone cannot be used.
        """
        return cls(build_method(load_checkpoint(path), pretrained=pretrained), device)

    @torch.no_grad()
    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Score a frame, (H, W, 3) uint8 BGR of any size; the verdict is always UNCALIBRATED.

        Raises:
            InputError: The frame is not a usable image.
        """
        images = to_tensor(frame_bgr, self.spec)[None].to(self._device)
        found = self._model(images)
        return AnomalyResult(
            score=float(found.score[0]), anomaly_map=found.anomaly_map[0].cpu().numpy()
        )
