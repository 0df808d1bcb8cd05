"""One pass over a data set: judge each image and keep what the metrics and the floor need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt

from zsad.data import Dataset, Sample
from zsad.errors import InputError
from zsad.evaluate.cases import CaseBook
from zsad.evaluate.floor import image_statistics
from zsad.evaluate.pixel_file import PixelFile
from zsad.evaluate.pixel_floor import floor_counts
from zsad.evaluate.reading import read_ahead
from zsad.metrics.pixel_counts import COVERED, PixelCounts
from zsad.preprocess import resize_mask
from zsad.types import AnomalyResult, ArrayBool, ArrayF32, ImageU8, Verdict

Progress = Callable[[], Any]
"""Called after each image."""


class Predictor(Protocol):
    """Anything that judges one frame: `zsad.Detector`, a checkpoint, your own."""

    def predict(self, frame_bgr: ImageU8, /) -> AnomalyResult: ...  # noqa: D102


@runtime_checkable
class BatchPredictor(Predictor, Protocol):
    """A predictor that judges several frames at once."""

    def predict_batch(self, frames_bgr: Sequence[ImageU8], /) -> list[AnomalyResult]: ...  # noqa: D102


@dataclass
class ClassData:
    """One class; every list has one entry per image, the last two only with masks.

    Attributes:
        images: Names.
        statistics: (S,) per image, see `zsad.evaluate.floor`.
        masked: Names of the images with a mask.
        places: Where their pixels are in the `PixelFile`.
        floor_counts: (S, 3, LEVELS) of all of them together, see `zsad.evaluate.pixel_floor`; None
            without any.
    """

    name: str
    images: list[str] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    statistics: list[npt.NDArray[np.float64]] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    floor_counts: npt.NDArray[np.float64] | None = None

    def add(
        self,
        image: str,
        label: bool,
        score: float,
        verdict: Verdict,
        statistics: npt.NDArray[np.float64],
    ) -> None:
        """Add what every image has."""
        self.images.append(image)
        self.labels.append(label)
        self.scores.append(score)
        self.verdicts.append(verdict)
        self.statistics.append(statistics)

    @property
    def has_both_labels(self) -> bool:
        """Whether image metrics are defined."""
        return len(set(self.labels)) == 2

    @property
    def has_both_pixels(self) -> bool:
        """Whether pixel metrics are defined."""
        if self.floor_counts is None:
            return False
        # Every statistic counts every pixel.
        return bool(self.floor_counts[0, :COVERED].any(axis=1).all())

    def add_pixels(self, image: str, place: int, counts: PixelCounts) -> None:
        """Add what an image with a mask has; `counts` are those of `floor_counts`."""
        self.masked.append(image)
        self.places.append(place)
        self.floor_counts = counts + (0.0 if self.floor_counts is None else self.floor_counts)


@dataclass
class Collected:
    """Everything kept of a data set.

    Attributes:
        classes: By name.
        n_excluded: Images left out by name.
        lost_masks: Masks that were not empty, but are at the size of the map.
        empty_masks: Anomalous images whose mask is empty to begin with.
        threshold: The threshold behind the verdicts, None if there was none.
        cases: The pictures that a report shows.
        seen: Names of the images judged.
    """

    classes: dict[str, ClassData] = field(default_factory=dict)
    n_excluded: int = 0
    lost_masks: int = 0
    empty_masks: int = 0
    threshold: float | None = None
    cases: CaseBook = field(default_factory=CaseBook)
    seen: set[str] = field(default_factory=set)

    def of_class(self, name: str) -> ClassData:
        """Return the class of this name, empty if no image of it was seen yet."""
        return self.classes.setdefault(name, ClassData(name))


def collect(
    predictor: Predictor,
    dataset: Dataset,
    pixels: PixelFile,
    exclude: frozenset[str] = frozenset(),
    progress: Progress | None = None,
    workers: int = 0,
    batch: int = 1,
) -> Collected:
    """Judge every image that is not excluded, in the order of the data set.

    Args:
        predictor: What judges.
        dataset: Labelled images.
        pixels: Takes the maps, masks and frames of images with a mask.
        exclude: Names to leave out.
        progress: Called after each image.
        workers: Threads that read images ahead; 0 reads each when it is judged. They change
            nothing but the time.
        batch: Images judged at once; above 1 it takes a `BatchPredictor`.

    Raises:
        InputError: The predictor knows no batches, a score or map is not finite, maps differ in
            size, two images have one name, or no excluded name was met.
    """
    judge = _judge_of(predictor, batch)
    collected = Collected()
    samples = read_ahead(dataset, workers)
    while group := list(islice(samples, batch)):
        kept = [sample for sample in group if sample.name not in exclude]
        collected.n_excluded += len(group) - len(kept)
        for sample, result in zip(kept, judge([s.image_bgr for s in kept]), strict=True):
            _add(collected, pixels, sample, result)
        if progress is not None:
            for _ in group:
                progress()
    if exclude and not collected.n_excluded:
        raise InputError(
            f"none of the {len(exclude)} excluded names, such as '{min(exclude)}', "
            f"is in {dataset.name}: is it the list of another data set?"
        )
    return collected


def _judge_of(
    predictor: Predictor, batch: int
) -> Callable[[Sequence[ImageU8]], list[AnomalyResult]]:
    if batch == 1:
        return lambda frames: [predictor.predict(frame) for frame in frames]
    if not isinstance(predictor, BatchPredictor):
        raise InputError(f"this predictor judges one image at a time: a batch of {batch} is no use")
    return predictor.predict_batch


def _add(collected: Collected, pixels: PixelFile, sample: Sample, result: AnomalyResult) -> None:
    _check(sample, result)
    if sample.name in collected.seen:
        raise InputError(f"two images are named '{sample.name}': names must tell them apart")
    collected.seen.add(sample.name)
    data = collected.of_class(sample.class_name)
    statistics = image_statistics(sample.image_bgr)
    data.add(sample.name, bool(sample.label), float(result.score), result.verdict, statistics)
    collected.threshold = result.threshold
    collected.cases.offer(sample, result)
    if sample.mask is not None:
        _check_size(sample, result.anomaly_map, pixels)
        collected.empty_masks += bool(sample.label and not sample.mask.any())
        collected.lost_masks += _add_pixels(data, pixels, sample, sample.mask, result.anomaly_map)


def _check(sample: Sample, result: AnomalyResult) -> None:
    if not np.isfinite(result.score):
        raise InputError(f"image '{sample.name}' got the score {result.score}, not a number")
    if not np.isfinite(result.anomaly_map).all():
        raise InputError(f"image '{sample.name}' got a map with values that are no numbers")


def _check_size(sample: Sample, anomaly_map: ArrayF32, pixels: PixelFile) -> None:
    height, width = anomaly_map.shape
    if pixels.map_hw not in (None, (height, width)):
        raise InputError(
            f"image '{sample.name}' got a map of {height}x{width}, those before of "
            f"{pixels.map_hw}: all must have one size"
        )


def _add_pixels(
    data: ClassData, pixels: PixelFile, sample: Sample, mask: ArrayBool, anomaly_map: ArrayF32
) -> bool:
    """Keep the pixels of an image; return whether its defect is too small for the map."""
    height, width = anomaly_map.shape
    at_map = resize_mask(mask, height, width)
    frame: ImageU8 = np.asarray(
        cv2.resize(sample.image_bgr, (width, height), interpolation=cv2.INTER_AREA), np.uint8
    )
    place = pixels.add(np.asarray(anomaly_map, np.float32), at_map, frame)
    data.add_pixels(sample.name, place, floor_counts(frame, at_map))
    return bool(mask.any() and not at_map.any())
