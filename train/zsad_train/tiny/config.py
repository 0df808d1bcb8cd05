"""The geometry of `tiny` and the constants of its input."""

from __future__ import annotations

from dataclasses import dataclass

import open_clip
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from zsad_train.tiny.stem import PATCH, Stem

MEAN = (127 / 255, 127 / 255, 127 / 255)
STD = (128 / 255, 128 / 255, 128 / 255)
"""What EfficientNet-Lite was trained with."""
VOCABULARY = 49408
"""Rows of CLIP's byte-pair vocabulary, all of them kept: users bring their own words."""


@dataclass(frozen=True)
class TinyConfig:
    """A small open_clip `CLIP` whose patches are embedded by a `Stem`."""

    image_size: int = 224
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
            patch_size=PATCH,
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
    """The architecture with random initial weights, drawn from torch's global seed."""
    model = CLIP(config.embed_dim, config.vision(), config.text())
    model.visual.conv1 = Stem(config.width)
    return model


def tokenizer() -> open_clip.SimpleTokenizer:
    """CLIP's own byte-pair tokenizer, context length 77."""
    return open_clip.SimpleTokenizer()
