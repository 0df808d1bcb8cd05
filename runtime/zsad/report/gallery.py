"""The few pictures of a run that its report shows, kept in bounded memory."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from zsad.overlay import draw_heat, encode_jpeg
from zsad.results import ResultRow
from zsad.scores import ScoreKind
from zsad.types import AnomalyResult, ImageU8

HIGHEST = 45
SAMPLED = 15
_THUMBNAIL_PX = 320


@dataclass(frozen=True)
class Card:
    """One judged frame with its pictures, JPEG files of at most 320 pixels a side.

    Attributes:
        row: The row of the results.
        frame_jpeg: The frame alone.
        heat_jpeg: The frame with its heat map.
    """

    row: ResultRow
    frame_jpeg: bytes
    heat_jpeg: bytes


class Gallery:
    """Keeps the highest scores, and a uniform random sample of the rest for comparison."""

    def __init__(self, highest: int = HIGHEST, sampled: int = SAMPLED, seed: int = 0) -> None:
        """Make an empty gallery for `highest` + `sampled` cards."""
        self._highest, self._sampled = highest, sampled
        self._top: list[tuple[float, int, Card]] = []
        self._rest: list[Card] = []
        self._rest_seen = 0
        self._random = random.Random(seed)

    def offer(self, row: ResultRow, make_card: Callable[[], Card]) -> None:
        """Consider a frame; its card is made only if it is kept."""
        score = -1.0 if row.score is None else row.score
        if len(self._top) < self._highest:
            heapq.heappush(self._top, (score, row.seq, make_card()))
        elif score > self._top[0][0]:
            displaced = heapq.heapreplace(self._top, (score, row.seq, make_card()))
            self._sample(lambda: displaced[2])
        else:
            self._sample(make_card)

    def cards(self) -> list[Card]:
        """Return the cards, the highest score first."""
        every = [card for _, _, card in self._top] + self._rest
        return sorted(every, key=lambda c: (-(c.row.score or 0.0), c.row.seq))

    def _sample(self, make_card: Callable[[], Card]) -> None:
        self._rest_seen += 1
        if len(self._rest) < self._sampled:
            self._rest.append(make_card())
            return
        # Reservoir sampling: each frame so far stays with the same probability.
        slot = self._random.randrange(self._rest_seen)
        if slot < self._sampled:
            self._rest[slot] = make_card()


def make_card(
    row: ResultRow, frame_bgr: ImageU8, result: AnomalyResult, score_kind: ScoreKind
) -> Card:
    """Return the card of a judged frame, (H, W, 3) uint8 BGR of any size."""
    small = thumbnail(frame_bgr)
    return Card(row, encode_jpeg(small, 85), encode_jpeg(draw_heat(small, result, score_kind), 85))


def thumbnail(frame_bgr: ImageU8) -> ImageU8:
    """Return a frame, (H, W, 3) uint8 BGR, shrunk to at most 320 pixels a side."""
    height, width = frame_bgr.shape[:2]
    factor = min(1.0, _THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(frame_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
