"""The heat map over the frame, on a colour scale that is the same for every image.

A scale stretched to each image's own maximum would light up flawless parts. So the colours span
[0, 1]. With a recipe the middle of the scale is what it knows of the part: the threshold where that
is read from the map, else the level that the maps of good parts rarely reach.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from zsad.scores import ScoreKind
from zsad.types import AnomalyResult, ArrayBool, ArrayF32, ImageU8, Verdict

_OPACITY = 0.65
_TOP_LEVEL = 228
"""Turbo's last levels are a dark red that is lost on dark frames."""

_CAPTION_BGR = {
    Verdict.OK: (96, 160, 46),
    Verdict.NG: (48, 48, 214),
    Verdict.NO_RESULT: (110, 110, 110),
    Verdict.UNCALIBRATED: (170, 110, 40),
}
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_ROI_BGR = (200, 200, 0)
_LEAST_LEVEL = 1e-4  # below it lies what half precision cannot tell apart
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MIN_WIDTH_PX = 240
_MAX_CAPTION_PX = 64


def draw_overlay(
    frame_bgr: ImageU8, result: AnomalyResult, score_kind: ScoreKind = "graph"
) -> ImageU8:
    """Return the frame with its heat map, and a caption below it that hides no pixel.

    Where a defect type is named, a ring marks where the map of that type is highest.

    A frame narrower than 240 pixels is first enlarged by a whole factor, since no caption would be
    legible on it.

    Args:
        frame_bgr: The judged frame, (H, W, 3) uint8, BGR.
        result: What the detector said about it.
        score_kind: What the threshold was calibrated for, see `draw_heat`.

    Returns:
        (H + h, W, 3) uint8, BGR: the frame at its own size, then a caption of h rows.
    """
    factor = -(-_MIN_WIDTH_PX // frame_bgr.shape[1])
    frame = frame_bgr
    if factor > 1:
        frame = np.repeat(np.repeat(frame_bgr, factor, axis=0), factor, axis=1)
    picture = draw_heat(frame, result, score_kind)
    mark_defect(picture, result)
    return np.concatenate([picture, _caption(caption_text(result), result.verdict, frame.shape[1])])


def draw_heat(
    frame_bgr: ImageU8, result: AnomalyResult, score_kind: ScoreKind = "graph"
) -> ImageU8:
    """Return the frame with its heat map and the contour of what is anomalous.

    Outside the region of interest, whose border is drawn, there is neither.

    Args:
        frame_bgr: The judged frame or a smaller copy of it, (H, W, 3) uint8, BGR.
        result: What the detector said about it.
        score_kind: What the threshold was calibrated for. A contour is drawn only for a kind that
            is read from the map: a threshold of the graph's own score says nothing about pixels.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    height, width = frame_bgr.shape[:2]
    threshold = result.threshold if score_kind != "graph" else None
    anomaly_map = np.nan_to_num(result.anomaly_map)
    position: Any = cv2.resize(colour_position(anomaly_map, result.map_level), (width, height))
    judged = _judged(result, height, width)
    picture = blend(frame_bgr, position * judged)
    if result.roi is not None:
        _outline(picture, judged, _ROI_BGR, width=1)
    if threshold is not None:
        draw_contour(picture, (cv2.resize(anomaly_map, (width, height)) > threshold) & judged)
    return picture


def mark_defect(picture_bgr: ImageU8, result: AnomalyResult) -> None:
    """Ring the highest place of the named type's map, in place; nothing without a named type.

    Args:
        picture_bgr: (H, W, 3) uint8, BGR, the whole of the judged frame at any size.
        result: What the detector said about it.
    """
    if result.defect is None or result.type_map is None:
        return
    type_map = result.type_map[result.defect.index]
    if result.roi is not None:
        type_map = np.where(result.roi, type_map, -1)
    row, column = np.unravel_index(int(type_map.argmax()), type_map.shape)
    height, width = picture_bgr.shape[:2]
    at = (
        int((column + 0.5) * width / type_map.shape[1]),
        int((row + 0.5) * height / type_map.shape[0]),
    )
    radius, thickness = max(4, min(height, width) // 25), max(1, min(height, width) // 400)
    for colour, wide in ((_BLACK, 3 * thickness), (_WHITE, thickness)):
        cv2.circle(picture_bgr, at, radius, colour, wide, cv2.LINE_AA)


def draw_contour(picture_bgr: ImageU8, region: ArrayBool) -> None:
    """Draw the outline of a region onto a picture, in place.

    Args:
        picture_bgr: (H, W, 3) uint8, BGR.
        region: (H, W) bool.
    """
    # White within black shows on any ground.
    _outline(picture_bgr, region, _BLACK, width=3)
    _outline(picture_bgr, region, _WHITE, width=1)


def colour_position(anomaly_map: ArrayF32, level: float | None) -> ArrayF32:
    """Return where each value lies on the colour scale, in [0, 1].

    The values are probabilities, so they are shifted as such: their odds are divided by those of
    the level. A model that calls defects 0.02 and all else 0.0001 shows them as clearly as one
    that says 0.9 and 0.3.

    Args:
        anomaly_map: (H, W) float32 in [0, 1].
        level: Put at the middle of the scale; None leaves the values as they are.
    """
    values = np.clip(anomaly_map, 0, 1)
    if level is None:
        return values
    middle = np.float32(min(max(level, _LEAST_LEVEL), 1 - _LEAST_LEVEL))
    raised, lowered = values * (1 - middle), (1 - values) * middle
    return np.asarray(raised / (raised + lowered), np.float32)


def blend(frame_bgr: ImageU8, position: ArrayF32) -> ImageU8:
    """Return the frame tinted by the colour scale: the lower the value, the more of the frame.

    Args:
        frame_bgr: (H, W, 3) uint8, BGR.
        position: (H, W) float32 in [0, 1], from `colour_position`.
    """
    opacity = _OPACITY * position
    mixed: Any = cv2.blendLinear(frame_bgr, _colours(position), 1 - opacity, opacity)
    return np.asarray(mixed)


def scale_rgba(steps: int = 17) -> list[tuple[int, int, int, float]]:
    """Return the colour scale as red, green, blue in [0, 255] and opacity, from 0 to 1."""
    position = np.linspace(0, 1, steps, dtype=np.float32)[None]  # (1, steps)
    colours = _colours(position)[0]  # (steps, 3)
    opacity = _OPACITY * position[0]
    return [
        (int(r), int(g), int(b), float(a)) for (b, g, r), a in zip(colours, opacity, strict=True)
    ]


def caption_text(result: AnomalyResult) -> str:
    """Return the caption: the verdict, how the score compares with the threshold, and the type."""
    name = result.verdict.value.replace("_", " ")
    if not np.isfinite(result.score):
        return f"{name}  no score"
    text = f"{name}  score {result.score:.3f}"
    if result.threshold is not None:
        relation = ">" if result.score > result.threshold else "<="
        text = f"{text} {relation} {result.threshold:.3f}"
    defect = result.defect
    if defect is None:
        return text
    if defect.threshold is not None and result.type_score is not None:
        own = float(result.type_score[defect.index])
        return f"{text}  {defect.name} {own:.3f} > {defect.threshold:.3f}"
    return f"{text}  {defect.name} {defect.confidence:.0%}"


def encode_jpeg(image_bgr: ImageU8, quality: int = 90) -> bytes:
    """Return an image, (H, W, 3) uint8 BGR, as the bytes of a JPEG file."""
    _, encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def _judged(result: AnomalyResult, height: int, width: int) -> ArrayBool:
    if result.roi is None:
        return np.ones((height, width), bool)
    grey: Any = result.roi.astype(np.uint8)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST), bool)


def _outline(
    picture_bgr: ImageU8, region: ArrayBool, colour: tuple[int, int, int], width: int
) -> None:
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = width * max(1, round(min(picture_bgr.shape[:2]) / 400))
    cv2.drawContours(picture_bgr, contours, -1, colour, thickness)


def _colours(position: ArrayF32) -> Any:
    return cv2.applyColorMap(np.rint(position * _TOP_LEVEL).astype(np.uint8), cv2.COLORMAP_TURBO)


def _caption(text: str, verdict: Verdict, width: int) -> ImageU8:
    (unit_width, unit_height), baseline = cv2.getTextSize(text, _FONT, 1.0, 2)
    padding = 0.5 * unit_height
    largest = _MAX_CAPTION_PX / (unit_height + baseline + 2 * padding)
    scale = min(largest, 0.95 * width / (unit_width + 2 * padding))
    height = round((unit_height + baseline + 2 * padding) * scale)
    strip = np.full((height, width, 3), _CAPTION_BGR[verdict], np.uint8)
    origin = (round(padding * scale), round((unit_height + padding) * scale))
    thickness = max(1, round(2 * scale))
    cv2.putText(strip, text, origin, _FONT, scale, _WHITE, thickness, cv2.LINE_AA)
    return strip
