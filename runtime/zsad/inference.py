"""What a graph says about frames of any size: each whole, or tile by tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zsad.artifact import Artifact
from zsad.backends import Backend
from zsad.inspection.config import Tiles
from zsad.inspection.tiles import Blend, crop, lay_out
from zsad.preprocess import check_frame, resize_exact
from zsad.stages import Stages
from zsad.text_table import constant_inputs
from zsad.types import Array, ArrayF32, ImageU8


class Inference:
    """Resizes frames, or tiles of them, for a graph and runs it."""

    def __init__(self, artifact: Artifact, backend: Backend, tiles: Tiles | None) -> None:
        """Read what the graph takes beside images.

        Args:
            artifact: A verified artifact.
            backend: Holds one of its graphs.
            tiles: What frames are cut into; None for whole ones.

        Raises:
            InputError: The artifact's text table is not one for its words.
        """
        self._spec = artifact.manifest.preprocess
        self._backend, self._tiles = backend, tiles
        self._constants = constant_inputs(artifact)

    def run(self, frames_bgr: Sequence[ImageU8], stages: Stages) -> list[dict[str, ArrayF32]]:
        """Return the graph's outputs for each frame; with tiles, its blended maps alone.

        Args:
            frames_bgr: Frames of any size, each (H, W, 3) uint8, BGR; whole ones share one run.
            stages: Is told where the time went.

        Raises:
            InputError: A frame is not a usable image, or tiles cannot be laid over it.
            InferenceError: The engine failed.
        """
        if self._tiles is None:
            return self._run_whole(frames_bgr, stages)
        return [self._run_tiled(frame, self._tiles, stages) for frame in frames_bgr]

    def _run_whole(self, frames: Sequence[ImageU8], stages: Stages) -> list[dict[str, ArrayF32]]:
        outputs = self._infer(frames, stages)
        return [
            {name: values[index].astype(np.float32) for name, values in outputs.items()}
            for index in range(len(frames))
        ]

    def _run_tiled(self, frame: ImageU8, tiles: Tiles, stages: Stages) -> dict[str, ArrayF32]:
        height, width = check_frame(frame).shape[:2]
        layout = lay_out(tiles, (height, width), (self._spec.height, self._spec.width))
        blend = Blend(layout)
        for batch in layout.batches():
            outputs = self._infer([crop(frame, tile) for tile in batch], stages)
            blend.add(batch, outputs)
            stages.over("post")
        return blend.maps

    def _infer(self, images: Sequence[ImageU8], stages: Stages) -> dict[str, Array]:
        """Run the graph once on images of any size; outputs have one row per image."""
        batch = np.stack([resize_exact(image, self._spec) for image in images])  # (N, H, W, 3)
        stages.over("preprocess")
        outputs = self._backend.infer({"image": batch, **self._constants})
        stages.over("infer")
        return outputs
