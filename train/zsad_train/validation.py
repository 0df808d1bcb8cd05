"""How well a method does on held-out data while it trains."""

from __future__ import annotations

import numpy as np
import torch

from zsad.data import Dataset
from zsad.metrics import auroc, pixel_auroc
from zsad.preprocess import resize_mask
from zsad.types import ArrayBool
from zsad_train.batches import preprocess_spec, to_tensor
from zsad_train.methods.base import Method


@torch.no_grad()
def validate(method: Method, data: Dataset, batch_size: int) -> dict[str, float]:
    """Return `image_auroc` and, where every image has a mask, `pixel_auroc`, pooled over classes.

    A figure that the data cannot give, for want of either class, is left out.

    Args:
        method: The method, on any device.
        data: Samples to score.
        batch_size: Images at a time.
    """
    spec = preprocess_spec(method.backbone.info)
    device = next(method.parameters()).device
    scores, maps = [], []
    labels: list[int] = []
    masks: list[ArrayBool] = []
    for start in range(0, len(data), batch_size):
        samples = [data[i] for i in range(start, min(start + batch_size, len(data)))]
        images = torch.stack([to_tensor(sample.image_bgr, spec) for sample in samples])
        prediction = method(images.to(device))
        scores.append(prediction.score.cpu().numpy())
        labels.extend(sample.label for sample in samples)
        if data.has_masks:
            maps.append(prediction.anomaly_map.cpu().numpy())
            masks.extend(
                resize_mask(s.mask, spec.height, spec.width) for s in samples if s.mask is not None
            )
    found = {}
    if 0 < sum(labels) < len(labels):
        found["image_auroc"] = auroc(np.concatenate(scores), labels)
    if data.has_masks and any(mask.any() for mask in masks):
        found["pixel_auroc"] = pixel_auroc(np.concatenate(maps), np.stack(masks))
    return found
