"""The geometry of `tiny` and the constants of its input."""

from __future__ import annotations

from dataclasses import dataclass

import open_clip
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

MEAN: tuple[float, float, float] = tuple(OPENAI_DATASET_MEAN)
STD: tuple[float, float, float] = tuple(OPENAI_DATASET_STD)
VOCABULARY = 49408
"""Rows of CLIP's byte-pair vocabulary, all of them kept: users bring their own words."""


@dataclass(frozen=True)
class TinyConfig:
    """A small open_clip `CLIP`."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 128
    layers: int = 8  # deep injection acts after blocks -5 to -2, so there must be blocks before it
    head_width: int = 32
    embed_dim: int = 128
    text_width: int = 128
    text_layers: int = 3

    def vision(self) -> CLIPVisionCfg:
        """open_clip's vision config."""
        return CLIPVisionCfg(
            layers=self.layers,
            width=self.width,
            head_width=self.head_width,
            patch_size=self.patch_size,
            image_size=self.image_size,
        )

    def text(self) -> CLIPTextCfg:
        """open_clip's text config."""
        return CLIPTextCfg(
            vocab_size=VOCABULARY,
            width=self.text_width,
            heads=self.text_width // 32,
            layers=self.text_layers,
        )


TINY = TinyConfig()
IMAGE_SIZE = TINY.image_size


def build_tiny(config: TinyConfig = TINY) -> CLIP:
    """The architecture with open_clip's random initial weights, drawn from torch's global seed."""
    return CLIP(config.embed_dim, config.vision(), config.text())


def tokenizer() -> open_clip.SimpleTokenizer:
    """CLIP's own byte-pair tokenizer, context length 77."""
    return open_clip.SimpleTokenizer()
