"""A part under a camera, drawn by hand: every kind of drift can be planted on its own."""

import cv2
import numpy as np

from zsad.watch.appearance import DriftCollector

HW = (120, 160)


def reference_of(frames):
    """How good parts look; None of too few."""
    collector = DriftCollector()
    for frame in frames:
        collector.add(frame)
    return collector.reference()


class Camera:
    """Frames of one good part in one fixture, as a line sees them.

    Each jitters by about a pixel and a percent of light, and carries the sensor's noise.
    """

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.scene = np.full(HW, 90, np.float32)
        cv2.circle(self.scene, (80, 60), 38, 150, -1)
        cv2.rectangle(self.scene, (65, 50), (95, 70), 60, -1)
        for x in range(10, 160, 20):
            cv2.line(self.scene, (x, 3), (x + 5, 30), 200, 1)
        grain = self.rng.normal(0, 1, HW).astype(np.float32)
        self.scene += 20 * cv2.GaussianBlur(grain, (0, 0), 1.0)
        self.noise = self.rng.normal(0, 3, (32, *HW)).astype(np.float32)

    def frame(self, gain=1.0, blur=0.0, shift=(0.0, 0.0)):
        image = cv2.GaussianBlur(self.scene, (0, 0), blur) if blur else self.scene
        dx, dy = np.float64(shift) + self.rng.normal(0, 0.4, 2)
        moved = np.float32([[1, 0, dx], [0, 1, dy]])
        image = cv2.warpAffine(image, moved, HW[::-1], borderMode=cv2.BORDER_REFLECT)
        light = gain * (1 + self.rng.normal(0, 0.01))
        image = image * light + self.noise[self.rng.integers(32)]
        grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    def score(self, shift=0.0):
        return float(np.clip(self.rng.beta(2, 20) + shift, 0, 1))
