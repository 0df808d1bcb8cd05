"""What a method reads of the frozen vision tower, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zsad_train.towers.attention import EntropyHeads
from zsad_train.towers.features import TokenNorm, VisionFeatures
from zsad_train.towers.vision import VisionTower


@dataclass(frozen=True)
class Reading:
    """What is read of the vision tower; the arguments of `VisionTower.forward`."""

    taps: tuple[int, ...]
    vv_from_block: int | None
    cls_ln_post: bool
    tokens_as: TokenNorm | None = None
    entropy_blocks: tuple[int, ...] = ()
    entropy_heads: EntropyHeads = "mean"

    def __call__(self, vision: VisionTower, images: Tensor) -> VisionFeatures:
        """Return the features of images (B, 3, H, W)."""
        features: VisionFeatures = vision(
            images,
            taps=self.taps,
            vv_from_block=self.vv_from_block,
            cls_ln_post=self.cls_ln_post,
            tokens_as=self.tokens_as,
            entropy_blocks=self.entropy_blocks,
            entropy_heads=self.entropy_heads,
        )
        return features
