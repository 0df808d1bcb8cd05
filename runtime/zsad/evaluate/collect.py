"""One pass over a data set: judge each image and keep what the metrics and the floor need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from zsad.data import Dataset, Sample
from zsad.errors import InputError
from zsad.evaluate.floor import image_statistics
from zsad.evaluate.pixel_floor import floor_counts
from zsad.metrics.pixel_counts import PixelCounts
from zsad.preprocess import resize_mask
from zsad.types import AnomalyResult, ArrayBool, ArrayF32, ImageU8, Verdict

Progress = Callable[[], Any]
"""Called after each image."""


class Predictor(Protocol):
    """Anything that judges one frame: `zsad.Detector`, a checkpoint, your own."""

    def predict(self, frame_bgr: ImageU8, /) -> AnomalyResult: ...  # noqa: D102


@dataclass
class ClassData:
    """One class; every list has one entry per image, the last three only with masks.

    Attributes:
        statistics: (S,) per image, see `zsad.evaluate.floor`.
        maps: (H, W) float32 anomaly maps.
        masks: (H, W) bool, at the size of the maps.
        floor_counts: (S, 2, LEVELS) per image, see `zsad.evaluate.pixel_floor`.
    """

    name: str
    labels: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    statistics: list[npt.NDArray[np.float64]] = field(default_factory=list)
    maps: list[ArrayF32] = field(default_factory=list)
    masks: list[ArrayBool] = field(default_factory=list)
    floor_counts: list[PixelCounts] = field(default_factory=list)

    @property
    def has_both_labels(self) -> bool:
        """Whether image metrics are defined."""
        return len(set(self.labels)) == 2

    @property
    def has_defect_pixels(self) -> bool:
        """Whether pixel metrics are defined."""
        return any(mask.any() for mask in self.masks)


@dataclass
class Collected:
    """Everything kept of a data set.

    Attributes:
        classes: By name.
        n_excluded: Images left out by name.
        lost_masks: Masks that were not empty, but are at the size of the map.
        map_hw: The common size of all maps.
        threshold: The threshold behind the verdicts, None if there was none.
    """

    classes: dict[str, ClassData] = field(default_factory=dict)
    n_excluded: int = 0
    lost_masks: int = 0
    map_hw: tuple[int, int] | None = None
    threshold: float | None = None


def collect(
    predictor: Predictor,
    dataset: Dataset,
    exclude: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Collected:
    """Judge every image that is not excluded.

    Raises:
        InputError: A score is not finite, maps differ in size, or no excluded name was met.
    """
    collected = Collected()
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.name in exclude:
            collected.n_excluded += 1
        else:
            _add(collected, sample, predictor.predict(sample.image_bgr))
        if progress is not None:
            progress()
    if exclude and not collected.n_excluded:
        raise InputError(
            f"none of the {len(exclude)} excluded names, such as '{min(exclude)}', "
            f"is in {dataset.name}: is it the list of another data set?"
        )
    return collected


def _add(collected: Collected, sample: Sample, result: AnomalyResult) -> None:
    if not np.isfinite(result.score):
        raise InputError(f"image '{sample.name}' got the score {result.score}, not a number")
    data = collected.classes.setdefault(sample.class_name, ClassData(sample.class_name))
    data.labels.append(bool(sample.label))
    data.scores.append(float(result.score))
    data.verdicts.append(result.verdict)
    data.statistics.append(image_statistics(sample.image_bgr))
    collected.threshold = result.threshold
    if sample.mask is not None:
        _add_pixels(collected, data, sample, sample.mask, result.anomaly_map)


def _add_pixels(
    collected: Collected, data: ClassData, sample: Sample, mask: ArrayBool, anomaly_map: ArrayF32
) -> None:
    height, width = anomaly_map.shape
    if collected.map_hw not in (None, (height, width)):
        raise InputError(
            f"image '{sample.name}' got a map of {height}x{width}, those before of "
            f"{collected.map_hw}: all must have one size"
        )
    collected.map_hw = (height, width)
    at_map = resize_mask(mask, height, width)
    collected.lost_masks += int(mask.any() and not at_map.any())
    frame = cv2.resize(sample.image_bgr, (width, height), interpolation=cv2.INTER_AREA)
    data.maps.append(np.asarray(anomaly_map, dtype=np.float32))
    data.masks.append(at_map)
    data.floor_counts.append(floor_counts(np.asarray(frame, dtype=np.uint8), at_map))
