"""Predictors that note what they said, and how far that is from what another one said.

Thousands of maps do not fit into memory, so they are kept in a temporary file without a name, which
even a killed process leaves no trace of.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np

from zsad.closeable import Closeable
from zsad.errors import InputError
from zsad.evaluate import Predictor
from zsad.golden import GoldenOutputs
from zsad.parity import FrameParity, ParityLimits, compare
from zsad.scores import ScoreKind, score_of
from zsad.types import AnomalyResult, ImageU8


class Recording(Closeable):
    """The score and the map of every frame that something judged, in their order.

    Attributes:
        scores: One of each frame so far.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.scores: list[float] = []
        self._maps: IO[bytes] = tempfile.TemporaryFile(prefix="zsad-")  # noqa: SIM115
        self._map_hw = (0, 0)

    def add(self, result: AnomalyResult) -> None:
        """Keep what was said about the next frame.

        Raises:
            InputError: There is no room for it.
        """
        self.scores.append(result.score)
        self._map_hw = (result.anomaly_map.shape[0], result.anomaly_map.shape[1])
        try:
            self._maps.write(np.ascontiguousarray(result.anomaly_map, np.float32).data)
            self._maps.flush()
        except OSError as error:
            raise InputError(
                f"cannot keep the anomaly maps in a temporary file ({error.strerror}): "
                "set TMPDIR to a folder with room for 4 bytes a pixel"
            ) from None

    def outputs(self, index: int) -> GoldenOutputs:
        """Return what was said about the frame of this number."""
        count = int(np.prod(self._map_hw))
        self._maps.seek(index * count * 4)
        stored = np.frombuffer(self._maps.read(count * 4), np.float32)
        anomaly_map = stored.reshape(1, *self._map_hw)
        return GoldenOutputs(np.array([self.scores[index]], np.float32), anomaly_map)

    def close(self) -> None:
        """Remove the maps."""
        # On a full disk the rest of a write fails once more here.
        with contextlib.suppress(OSError):
            self._maps.close()


@dataclass(frozen=True)
class Recorder:
    """A predictor that notes what it says.

    Attributes:
        predictor: What judges.
        kind: The score that is noted.
        recording: Where; it outlives the predictor, which may be large.
    """

    predictor: Predictor
    kind: ScoreKind
    recording: Recording

    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Judge a frame (H, W, 3) uint8 BGR and keep what was said.

        Raises:
            InputError: There is no room for it.
        """
        result = _with_kind(self.predictor.predict(frame_bgr), self.kind)
        self.recording.add(result)
        return result


@dataclass
class Comparer:
    """A predictor that is held against a `Recording` of the same frames while it judges.

    Attributes:
        predictor: What judges.
        reference: What is known of each frame.
        kind: The score that is compared.
        limits: Which maps are held to a correlation.
        scores: Those given so far.
        frames: The differences so far; each is named by its number.
    """

    predictor: Predictor
    reference: Recording
    kind: ScoreKind
    limits: ParityLimits
    scores: list[float] = field(default_factory=list)
    frames: list[FrameParity] = field(default_factory=list)

    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Judge a frame (H, W, 3) uint8 BGR and note how far that is from the reference."""
        result = _with_kind(self.predictor.predict(frame_bgr), self.kind)
        index = len(self.scores)
        found = GoldenOutputs(
            np.array([result.score], np.float32), result.anomaly_map[None].astype(np.float32)
        )
        expected = self.reference.outputs(index)
        self.frames += compare([str(index)], expected, found, self.limits).frames
        self.scores.append(result.score)
        return result


def _with_kind(result: AnomalyResult, kind: ScoreKind) -> AnomalyResult:
    return replace(result, score=score_of(kind, result.score, result.anomaly_map))
