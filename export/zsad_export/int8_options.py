"""How INT8 graphs are made, and on which frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zsad.preprocess import PreprocessSpec
from zsad.types import ImageU8
from zsad_calibration.int8.frames import calibration_images

CALIBRATION_FRAMES = 32


Progress = Callable[[str], None]


@dataclass(frozen=True)
class Int8Options:
    """How INT8 graphs are made.

    Attributes:
        auto: Keep the linears that INT8 hurts most in floating point until the limits hold.
        sensitivity: Measure what each linear does alone, which `auto` does anyway.
        calib: Folder or data set to calibrate on; None for generated frames.
        frames: How many of its frames.
    """

    auto: bool = False
    sensitivity: bool = False
    calib: str | None = None
    frames: int = CALIBRATION_FRAMES


@dataclass(frozen=True)
class Calibration:
    """What INT8 graphs are made with.

    Attributes:
        options: How they are made.
        images: Calibration frames, (H, W, 3) uint8 BGR at the graph's size.
    """

    options: Int8Options
    images: tuple[ImageU8, ...]

    @classmethod
    def read(cls, options: Int8Options, spec: PreprocessSpec, progress: Progress) -> Calibration:
        """Read the calibration frames, and say so where they are not the user's own.

        Raises:
            InputError: They cannot be read.
        """
        if options.calib is None:
            progress(
                "no --calib: INT8 ranges come from generated frames; frames of the line itself, "
                "good parts included, fit better: docs/int8.md says what that cost on photographs"
            )
        return cls(options, calibration_images(options.calib, options.frames, spec))

    @property
    def source(self) -> str:
        """What the frames are."""
        calib = self.options.calib
        if calib is None:
            return "generated frames"
        # A folder's name or a data set's; where they lie is nobody's business.
        path = Path(calib)
        return f"frames of {path.resolve().name if path.is_dir() else calib.partition(':')[0]}"
