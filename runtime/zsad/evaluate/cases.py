"""The images that a report shows: where the model was most wrong, and where most right."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from zsad.data import Sample
from zsad.overlay import draw_contour, draw_heat, encode_jpeg
from zsad.report.gallery import thumbnail
from zsad.types import AnomalyResult

KEPT = 12
"""Cases of each kind."""
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Case:
    """One judged image, with JPEG files of at most 320 pixels a side.

    Attributes:
        name: Of the image.
        class_name: What it shows.
        defect_type: `good` for a normal one.
        score: What the model said.
        frame_jpeg: The image, with the outline of its mask where it has one.
        heat_jpeg: The image with its heat map.
    """

    name: str
    class_name: str
    defect_type: str
    score: float
    frame_jpeg: bytes
    heat_jpeg: bytes


class CaseBook:
    """Keeps the good images with the highest scores and the defective ones at both ends."""

    def __init__(self, kept: int = KEPT) -> None:
        """Make an empty book for so many cases of each kind."""
        self._false_alarms, self._misses, self._hits = (_Best(kept) for _ in range(3))

    def offer(self, sample: Sample, result: AnomalyResult) -> None:
        """Consider an image; its pictures are made only if it is kept."""
        case: list[Case] = []

        def make() -> Case:
            if not case:
                case.append(_make(sample, result))
            return case[0]

        if not sample.label:
            self._false_alarms.offer(result.score, make)
        else:
            self._misses.offer(-result.score, make)
            self._hits.offer(result.score, make)

    @property
    def false_alarms(self) -> list[Case]:
        """Good images, the highest score first."""
        return self._false_alarms.cases()

    @property
    def misses(self) -> list[Case]:
        """Defective images, the lowest score first."""
        return self._misses.cases()

    @property
    def hits(self) -> list[Case]:
        """Defective images, the highest score first."""
        return self._hits.cases()


class _Best:
    """The cases with the highest keys, the earlier one where keys are equal."""

    def __init__(self, kept: int) -> None:
        self._kept, self._seen = kept, 0
        self._heap: list[tuple[float, int, Case]] = []

    def offer(self, key: float, make: Callable[[], Case]) -> None:
        self._seen += 1
        if len(self._heap) < self._kept:
            heapq.heappush(self._heap, (key, -self._seen, make()))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, -self._seen, make()))

    def cases(self) -> list[Case]:
        return [case for _, _, case in sorted(self._heap, key=lambda e: e[:2], reverse=True)]


def _make(sample: Sample, result: AnomalyResult) -> Case:
    small = thumbnail(sample.image_bgr)
    frame = small.copy()
    if sample.mask is not None:
        height, width = frame.shape[:2]
        share = cv2.resize(
            sample.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
        )
        draw_contour(frame, np.asarray(share > 0))
    return Case(
        sample.name,
        sample.class_name,
        sample.defect_type,
        float(result.score),
        encode_jpeg(frame, _JPEG_QUALITY),
        encode_jpeg(draw_heat(small, result), _JPEG_QUALITY),
    )
