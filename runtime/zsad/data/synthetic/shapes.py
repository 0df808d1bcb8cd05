"""Outlines, their placement, and soft coverage masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from zsad.data.synthetic.noise import pixel_grid
from zsad.types import ArrayF32

_SHIFT = 4  # fractional bits of OpenCV's polygon corners


@dataclass(frozen=True)
class Pose:
    """Where a part lies: centre and half size in pixels, turned by `angle` radians."""

    x: float
    y: float
    radius: float
    angle: float

    def within(self, x: float, y: float, scale: float = 1.0, turn: float = 0.0) -> Pose:
        """A pose at (x, y) of this one's units, `scale` times its size, turned further."""
        at = self.place(np.array([(x, y)], np.float32))[0]
        return Pose(float(at[0]), float(at[1]), scale * self.radius, self.angle + turn)

    def place(self, points: ArrayF32) -> ArrayF32:
        """Part coordinates, (n, 2) in units of the half size, to pixels."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[cos, sin], [-sin, cos]]) * self.radius
        return np.asarray(points @ turn + np.array([self.x, self.y]), np.float32)


def random_pose(rng: np.random.Generator, size: int) -> Pose:
    """A part somewhere near the middle, filling between half and nearly all of the image."""
    radius = rng.uniform(0.3, 0.46) * size
    room = max(0.5 * size - radius, 0.0)
    x, y = 0.5 * size + rng.uniform(-room, room, 2)
    return Pose(float(x), float(y), float(radius), float(rng.uniform(0, 2 * np.pi)))


def fill(size: int, *outlines: ArrayF32) -> ArrayF32:
    """Coverage of polygons given in pixels: (size, size) float32 in [0, 1], anti-aliased."""
    layer = np.zeros((size, size), np.uint8)
    for outline in outlines:
        corners = np.round(outline * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(layer, [corners], 255, cv2.LINE_AA, _SHIFT)
    return np.asarray(layer.astype(np.float32) * np.float32(1 / 255))


def stroke(size: int, points: ArrayF32, width_px: float, closed: bool = False) -> ArrayF32:
    """Coverage of a line through `points` in pixels: (size, size) float32 in [0, 1]."""
    # OpenCV widths are whole pixels: draw at four times the size and shrink.
    layer = np.zeros((4 * size, 4 * size), np.uint8)
    corners = np.round(points * 4 * (1 << _SHIFT)).astype(np.int32)
    thickness = max(round(4 * width_px), 1)
    cv2.polylines(layer, [corners], closed, 255, thickness, cv2.LINE_AA, _SHIFT)
    small = cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) * np.float32(1 / 255))


def circle(x: float = 0.0, y: float = 0.0, radius: float = 1.0, corners: int = 72) -> ArrayF32:
    """A circle's outline, (corners, 2)."""
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius
    return np.asarray(ring + np.array([x, y]), np.float32)


def rounded_box(half_width: float, half_height: float, corner: float) -> ArrayF32:
    """A rectangle with round corners, centred, (48, 2)."""
    turn = np.linspace(0, np.pi / 2, 12)
    arcs = []
    for quarter, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        angle = turn + quarter * np.pi / 2
        centre = np.array([sx * (half_width - corner), sy * (half_height - corner)])
        arcs.append(centre + corner * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return np.concatenate(arcs).astype(np.float32)


def regular_polygon(corners: int) -> ArrayF32:
    """A regular polygon on the unit circle, (corners, 2)."""
    return circle(corners=corners)


def gear_outline(teeth: int, depth: float) -> ArrayF32:
    """A toothed wheel with flat teeth, (8 * teeth, 2), outer radius 1."""
    turn = np.linspace(0, 2 * np.pi, 8 * teeth, endpoint=False)
    ramp = np.clip(2.4 * np.sin(turn * teeth), -1, 1)
    radius = 1 - depth * (0.5 - 0.5 * ramp)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1).astype(np.float32)


def outline(corners: list[tuple[float, float]]) -> ArrayF32:
    """Corners as an array, (n, 2)."""
    return np.array(corners, np.float32)


def box(x0: float, y0: float, x1: float, y1: float) -> ArrayF32:
    """A rectangle from corner to corner, (4, 2)."""
    return outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def disc(size: int, pose: Pose, x: float, y: float, radius: float) -> ArrayF32:
    """Coverage of a disc given in part coordinates: (size, size) float32 in [0, 1]."""
    return fill(size, pose.place(circle(x, y, radius)))


def radial(size: int, pose: Pose) -> ArrayF32:
    """Distance from the part's centre in units of its half size, (size, size) float32."""
    x, y = pixel_grid(size)
    dx, dy = x * np.float32(size) - np.float32(pose.x), y * np.float32(size) - np.float32(pose.y)
    return np.asarray(np.sqrt(dx * dx + dy * dy) / np.float32(pose.radius), np.float32)


def ring(field: ArrayF32, radius: float, width: float) -> ArrayF32:
    """A soft ring where a radial field is near `radius`: 1 on it, 0 away from it."""
    return np.asarray(
        np.exp(-(((field - np.float32(radius)) / np.float32(width)) ** 2)), np.float32
    )
