"""Drawing and writing the golden frames of an artifact; `zsad.golden` reads them.

They are synthetic, of camera sizes, so that the replay begins where production begins: before the
resize. Torch-free.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zsad.data import open_dataset
from zsad.golden import FOLDER, INPUT, REFERENCE, GoldenFrame, GoldenOutputs
from zsad.schema import write_atomic
from zsad.types import Array

_SCENES = ((1, (481, 643)), (2, (643, 481)), (5, (203, 301)), (7, (721, 961)))
"""Generated samples, odd ones defective, and what is cropped of them: landscape, portrait, smaller
than most models' input, larger; no side is a multiple of a patch."""

_SEED = 20_241


def golden_frames() -> tuple[GoldenFrame, ...]:
    """Draw the golden frames: always the same, from the generator's training classes."""
    return tuple(_draw(index, hw) for index, hw in _SCENES)


def _draw(index: int, hw: tuple[int, int]) -> GoldenFrame:
    side = max(hw)
    scene = open_dataset("synthetic", split="train", seed=_SEED, size=side)[index].image_bgr
    top, left = (side - hw[0]) // 2, (side - hw[1]) // 2
    crop = scene[top : top + hw[0], left : left + hw[1]]
    return GoldenFrame(f"frame-{hw[0]}x{hw[1]}", np.ascontiguousarray(crop))


def write_golden(
    directory: Path,
    frames: Sequence[GoldenFrame],
    reference: GoldenOutputs,
    constants: Mapping[str, Array] | None = None,
) -> None:
    """Write frames, as PNG, and the reference's outputs below an artifact's scratch directory.

    Args:
        directory: The scratch directory.
        frames: The golden frames.
        reference: What the reference made of them.
        constants: What the graph takes beside images, as it was for the reference.
    """
    (directory / FOLDER).mkdir()
    for frame in frames:
        path = directory / FOLDER / f"{frame.name}.png"
        Image.fromarray(frame.image_bgr[..., ::-1]).save(path)
    buffer = io.BytesIO()
    stored: dict[str, Any] = {
        "names": np.array([frame.name for frame in frames]),
        "scores": reference.scores,
        "anomaly_maps": reference.anomaly_maps,
        **{f"{INPUT}{name}": value for name, value in (constants or {}).items()},
    }
    if reference.type_scores is not None:
        stored["type_scores"] = reference.type_scores
    np.savez_compressed(buffer, **stored)
    write_atomic(directory / REFERENCE, buffer.getvalue())
