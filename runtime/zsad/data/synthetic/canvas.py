"""A clean picture of a part, before defects and camera."""

from __future__ import annotations

from dataclasses import dataclass

from zsad.types import ArrayBool, ArrayF32


@dataclass(frozen=True)
class Canvas:
    """What a defect works on.

    Attributes:
        image: Clean picture, (S, S, 3) float32 BGR in about [0, 255].
        part: Pixels of the part, (S, S) bool; all True for a texture.
        behind: What shows where the part is missing, (S, S, 3) float32 BGR.
        is_texture: Whether the surface fills the image.
    """

    image: ArrayF32
    part: ArrayBool
    behind: ArrayF32
    is_texture: bool

    @property
    def size(self) -> int:
        """Image side in pixels."""
        return int(self.image.shape[0])
