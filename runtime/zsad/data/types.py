"""What every data set gives: samples, and a sequence of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zsad.types import ArrayBool, ImageU8

GOOD = "good"
"""The `defect_type` of a normal sample."""


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        image_bgr: Image, (H, W, 3) uint8 BGR.
        mask: Defective pixels, (H, W) bool; None where the data set has no pixel labels.
        label: 0 normal, 1 anomalous.
        class_name: What is shown, for example `metal plate`.
        defect_type: Name of the defect, `good` for a normal sample.
        name: Stable identifier, unique within the data set.
        caption: One English sentence, empty where the data set has none.
    """

    image_bgr: ImageU8
    mask: ArrayBool | None
    label: int
    class_name: str
    defect_type: str
    name: str
    caption: str = ""


class Dataset(Protocol):
    """A finite sequence of samples; reading one twice gives the same sample.

    Attributes:
        name: Name of the data set and split, for tables and file names.
        classes: The class names that its samples carry.
        defect_types: The defect types that its samples can show, without `good`.
        has_masks: Whether every sample has a pixel mask.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def defect_types(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def has_masks(self) -> bool: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...
