"""Golden frames: what the reference said about a few camera frames, kept with the artifact.

A device replays them to prove that its engine computes what was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zsad.artifact import Artifact
from zsad.errors import InputError
from zsad.images import read_image
from zsad.types import Array, ArrayF32, ImageU8

FOLDER = "golden"
REFERENCE = f"{FOLDER}/reference.npz"

INPUT = "input."
"""Prefix, in the reference's file, of what a graph takes beside images."""


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

    def at(self, index: int) -> GoldenOutputs:
        """Return those of one frame."""
        one = slice(index, index + 1)
        return GoldenOutputs(
            self.scores[one],
            self.anomaly_maps[one],
            None if self.type_scores is None else self.type_scores[one],
            None if self.type_maps is None else self.type_maps[one],
        )

    def without_type_maps(self) -> GoldenOutputs:
        """Return what an artifact keeps of them: of types, the scores only."""
        return replace(self, type_maps=None)


def collect_outputs(outputs: Mapping[str, Array]) -> GoldenOutputs:
    """Return what a graph gave for all frames, by the names of its outputs."""
    names = ("score", "anomaly_map", "type_score", "type_map")
    return GoldenOutputs(*(outputs.get(name) for name in names))  # type: ignore[arg-type]


def read_golden(artifact: Artifact) -> tuple[tuple[GoldenFrame, ...], GoldenOutputs]:
    """Read the golden frames of an artifact and what the reference made of them.

    Raises:
        InputError: The artifact has none, or they cannot be read.
    """
    stored = _stored(artifact)
    try:
        names = [str(name) for name in stored["names"]]
        outputs = GoldenOutputs(stored["scores"], stored["anomaly_maps"], stored.get("type_scores"))
        frames = tuple(_read_frame(artifact, name) for name in names)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{artifact.path}: golden frames cannot be read: {error}") from None
    if len(frames) != len(outputs.scores):
        raise InputError(
            f"{artifact.path}: golden frames cannot be read: {len(frames)} names of"
            f" {len(outputs.scores)} frames"
        )
    return frames, outputs


def read_golden_inputs(artifact: Artifact) -> dict[str, Array]:
    """Read what the graph took beside images when the golden frames were made.

    It stays as it was when the artifact's words change, for the frames belong to it.

    Raises:
        InputError: The artifact has no golden frames, or they cannot be read.
    """
    stored = _stored(artifact)
    return {name.removeprefix(INPUT): stored[name] for name in stored if name.startswith(INPUT)}


def _stored(artifact: Artifact) -> dict[str, Any]:
    path = artifact.file(REFERENCE)
    try:
        # numpy leaves a file open that it opened itself and could not read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zip, zlib and numpy raise anything on bytes that are no archive
        raise InputError(f"{artifact.path}: golden frames cannot be read: {error}") from None


def _read_frame(artifact: Artifact, name: str) -> GoldenFrame:
    return GoldenFrame(name, read_image(artifact.file(f"{FOLDER}/{name}.png")))
