"""Golden frames: what the reference said about a few camera frames, kept with the artifact.

A device replays them to prove that its engine computes what was trained. They are synthetic, of
camera sizes, so that the replay begins where production begins: before the resize. Torch-free.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from zsad.artifact import Artifact
from zsad.data import open_dataset
from zsad.errors import InputError
from zsad.schema import write_atomic
from zsad.types import Array, ArrayF32, ImageU8

FOLDER = "golden"
REFERENCE = f"{FOLDER}/reference.npz"

_SCENES = ((1, (481, 643)), (2, (643, 481)), (5, (203, 301)), (7, (721, 961)))
"""Generated samples, odd ones defective, and what is cropped of them: landscape, portrait, smaller
than most models' input, larger; no side is a multiple of a patch."""

_SEED = 20_241
_INPUT = "input."


@dataclass(frozen=True)
class GoldenFrame:
    """One camera frame: its name and (H, W, 3) uint8 BGR."""

    name: str
    image_bgr: ImageU8


@dataclass(frozen=True)
class GoldenOutputs:
    """What something made of the golden frames, in their order.

    Attributes:
        scores: (F,) float32 in [0, 1].
        anomaly_maps: (F, H, W) float32 in [0, 1] at the model's size.
        type_scores: (F, K) float32 in [0, 1], where there are types.
        type_maps: (F, K, H, W) float32 in [0, 1], where there are types. They are compared at an
            export and not kept: they would outweigh all else, and their maxima are the scores.
    """

    scores: ArrayF32
    anomaly_maps: ArrayF32
    type_scores: ArrayF32 | None = None
    type_maps: ArrayF32 | None = None

    def __post_init__(self) -> None:
        frames = self.scores.shape[0]
        if self.scores.shape != (frames,) or self.anomaly_maps.shape[0] != frames:
            raise ValueError(f"{self.scores.shape} scores, {self.anomaly_maps.shape} maps")

    def first(self, count: int | None) -> GoldenOutputs:
        """Return those of the first frames; None is all."""
        return GoldenOutputs(
            self.scores[:count],
            self.anomaly_maps[:count],
            None if self.type_scores is None else self.type_scores[:count],
            None if self.type_maps is None else self.type_maps[:count],
        )

    def without_type_maps(self) -> GoldenOutputs:
        """Return what an artifact keeps of them: of types, the scores only."""
        return replace(self, type_maps=None)


def collect_outputs(outputs: Mapping[str, Array]) -> GoldenOutputs:
    """Return what a graph gave for all frames, by the names of its outputs."""
    names = ("score", "anomaly_map", "type_score", "type_map")
    return GoldenOutputs(*(outputs.get(name) for name in names))  # type: ignore[arg-type]


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
        **{f"{_INPUT}{name}": value for name, value in (constants or {}).items()},
    }
    if reference.type_scores is not None:
        stored["type_scores"] = reference.type_scores
    np.savez_compressed(buffer, **stored)
    write_atomic(directory / REFERENCE, buffer.getvalue())


def read_golden(artifact: Artifact) -> tuple[tuple[GoldenFrame, ...], GoldenOutputs]:
    """Read the golden frames of an artifact and what the reference made of them.

    Raises:
        InputError: The artifact has none, or they cannot be read.
    """
    try:
        with np.load(artifact.file(REFERENCE), allow_pickle=False) as stored:
            names = [str(name) for name in stored["names"]]
            outputs = GoldenOutputs(
                stored["scores"], stored["anomaly_maps"], stored.get("type_scores")
            )
        frames = tuple(_read_frame(artifact, name) for name in names)
    except (KeyError, ValueError, OSError, UnidentifiedImageError) as error:
        raise InputError(f"{artifact.path}: golden frames cannot be read: {error}") from None
    return frames, outputs


def read_golden_inputs(artifact: Artifact) -> dict[str, Array]:
    """Read what the graph took beside images when the golden frames were made.

    It stays as it was when the artifact's words change, for the frames belong to it.

    Raises:
        InputError: The artifact has no golden frames, or they cannot be read.
    """
    try:
        with np.load(artifact.file(REFERENCE), allow_pickle=False) as stored:
            names = [name for name in stored if name.startswith(_INPUT)]
            return {name.removeprefix(_INPUT): stored[name] for name in names}
    except (ValueError, OSError) as error:
        raise InputError(f"{artifact.path}: golden frames cannot be read: {error}") from None


def _read_frame(artifact: Artifact, name: str) -> GoldenFrame:
    with Image.open(artifact.file(f"{FOLDER}/{name}.png")) as image:
        rgb = np.asarray(image)
    return GoldenFrame(name, np.ascontiguousarray(rgb[..., ::-1]))
