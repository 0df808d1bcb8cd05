"""The first layers of `tiny`: an ImageNet network up to stride 16, read into patch tokens.

A small transformer that learns from drawn defects alone knows no edges, grain or material of real
things. So its patches are embedded by EfficientNet-Lite2 (Tan and Le 2019; the Lite family has
ReLU6 and no squeeze-excitation, which suits integers), as the hybrids of Dosovitskiy et al. 2020,
section 3.1, are by a ResNet. The network stays as ImageNet left it; only what reads it is learned.
Batch norms are folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 16
"""The stride of the coarsest features: what one token stands for, in pixels."""

FeatureMaps = tuple[Tensor, Tensor, Tensor]
"""Features at strides 4, 8 and 16: (B, 24, S/4, S/4), (B, 48, S/8, S/8), (B, 208, S/16, S/16)."""


@dataclass(frozen=True)
class _Stage:
    blocks: int
    channels: int
    kernel: int
    stride: int
    expand: int = 6


_STAGES = (
    _Stage(1, 16, 3, 1, expand=1),
    _Stage(3, 24, 3, 2),
    _Stage(3, 48, 5, 2),
    _Stage(4, 88, 3, 2),
    _Stage(4, 120, 5, 1),
)
"""Of EfficientNet-Lite2, without the two of stride 32."""

_FIRST = 32
_FINE, _MIDDLE, _COARSE = 24, 48, 88 + 120
_SPREADS = (9.0, 7.0, 6.0)
"""Typical standard deviation of the features at each stride, on generated images."""


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow does: stride 2 takes the odd pixel right and below."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        even = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding=even, groups=groups)
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.border = (before, after, before, after) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        return super().forward(x if self.border is None else F.pad(x, self.border))


class InvertedResidual(nn.Module):
    """Widen, look around in every channel alone, narrow (MobileNetV2's block)."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expand
        self.expand = SamePadded(inputs, inner, 1, 1) if stage.expand > 1 else None
        self.depthwise = SamePadded(inner, inner, stage.kernel, stride, groups=inner)
        self.project = SamePadded(inner, stage.channels, 1, 1)
        self.adds = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, channels, H / stride, W / stride)."""
        inner = x if self.expand is None else F.relu6(self.expand(x))
        narrow: Tensor = self.project(F.relu6(self.depthwise(inner)))
        return x + narrow if self.adds else narrow


class Features(nn.Module):
    """EfficientNet-Lite2 up to stride 16, frozen.

    Attributes:
        first: The 3x3 convolution of stride 2 that sees the image.
        stages: Its stages, each a sequence of `InvertedResidual`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = SamePadded(3, _FIRST, 3, 2)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in _stages())
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> FeatureMaps:
        """Features of (B, 3, S, S) RGB images in [-1, 1], S a multiple of 16."""
        x = F.relu6(self.first(images))
        after = []
        for stage in self.stages:
            x = stage(x)
            after.append(x)
        return after[1], after[2], torch.cat(after[3:], dim=1)


def _stages() -> Iterator[list[InvertedResidual]]:
    inputs = _FIRST
    for stage in _STAGES:
        blocks = []
        for number in range(stage.blocks):
            blocks.append(InvertedResidual(inputs, stage, 1 if number else stage.stride))
            inputs = stage.channels
        yield blocks


class Stem(nn.Module):
    """Stands where open_clip's ViT has its patch embedding: (B, 3, S, S) to (B, W, S/16, S/16).

    Attributes:
        features: The frozen network.
        fine: Reads the 4 x 4 features of stride 4 that lie in a patch.
        middle: Reads the 2 x 2 features of stride 8.
        coarse: Reads the features of stride 16.
        ranges: Reads how far the finer features spread within a patch, which is where small
            defects stand out and what a linear reading averages away.
        out_channels: W, the width of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width
        self.features = Features()
        self.fine = nn.Conv2d(_FINE, width, 4, 4)
        self.middle = nn.Conv2d(_MIDDLE, width, 2, 2)
        self.coarse = nn.Conv2d(_COARSE, width, 1)
        self.ranges = nn.Conv2d(_FINE + _MIDDLE, width, 1)
        with torch.no_grad():
            readers = (self.fine, self.middle, self.coarse)
            for reader, spread in zip(readers, _SPREADS, strict=True):
                reader.weight.div_(spread)
            self.ranges.weight.div_(12.0)

    def forward(self, images: Tensor) -> Tensor:
        """Embed the patches of RGB images in [-1, 1]."""
        return self.read(*self.features(images))

    def read(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Turn `Features` into tokens, (B, W, S/16, S/16)."""
        ranges = self.ranges(torch.cat([_range(fine, 4), _range(middle, 2)], dim=1))
        tokens: Tensor = self.fine(fine) + self.middle(middle) + self.coarse(coarse) + ranges
        return tokens


def _range(x: Tensor, side: int) -> Tensor:
    """Largest minus smallest value in every square."""
    return F.max_pool2d(x, side) + F.max_pool2d(-x, side)
