"""How well the towers tell states apart with fixed sentences, before any prompt is learned."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP

from zsad.metrics import auroc
from zsad.types import Array, ImageU8
from zsad_train.tiny.batches import normalised
from zsad_train.tiny.cache import Cache, Rows
from zsad_train.tiny.config import TinyConfig, tokenizer
from zsad_train.tiny.objective import TEMPERATURE, image_tokens, sentence_embeddings

NORMAL_TEXT = "object"
DAMAGED_TEXT = "damaged object"


@dataclass(frozen=True)
class Separation:
    """Areas under the ROC curve, 0.5 = chance."""

    image_auroc: float
    pixel_auroc: float
    patch_max_auroc: float  # the largest patch as image score


def separation(model: CLIP, config: TinyConfig, cache: Cache, count: int) -> Separation:
    """Measure the first `count` samples of a cache."""
    logits = defect_logits(model, config, cache.images, count)
    labels = np.array([name != "good" for name in cache.defect_types[:count]])
    patches = logits[:, 1:]
    return Separation(
        image_auroc=auroc(logits[:, 0], labels),
        pixel_auroc=pixel_auroc(patches, cache, count),
        patch_max_auroc=auroc(patches.max(1), labels),
    )


@torch.no_grad()
def defect_logits(model: CLIP, config: TinyConfig, images: Rows, count: int) -> Array:
    """How much more damaged than intact images and their patches are, with fixed sentences.

    Args:
        model: The towers.
        config: Their geometry.
        images: n of (S, S, 3) uint8 BGR, of any side.
        count: How many of them, from the first.

    Returns:
        (count, 1 + P) float32, of an image first and of its P patches row by row.
    """
    device = model.logit_scale.device
    texts = sentence_embeddings(model, tokenizer()([NORMAL_TEXT, DAMAGED_TEXT]).to(device))
    direction = (texts[1] - texts[0]) / TEMPERATURE
    logits = []
    for start in range(0, count, 32):
        pictures = [_fit(images[i], config) for i in range(start, min(start + 32, count))]
        batch = normalised(torch.from_numpy(np.stack(pictures)).to(device))
        tokens = image_tokens(model.visual, batch)
        logits.append((F.normalize(tokens, dim=-1) @ direction).cpu().numpy())
    return np.concatenate(logits)


def _fit(image: Array, config: TinyConfig) -> ImageU8:
    target = (config.image_size, config.image_size)
    picture = np.asarray(image, np.uint8)
    if picture.shape[0] != config.image_size:
        smaller = picture.shape[0] > config.image_size
        scaling = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(picture, target, interpolation=scaling), np.uint8)
    return picture


def pixel_auroc(patches: Array, cache: Cache, count: int) -> float:
    """AUROC of the up-sampled maps on every second pixel of each axis."""
    side = cache.images[0].shape[0]
    grid = round(patches.shape[1] ** 0.5)
    scores, truths = [], []
    for index in range(count):
        coarse = patches[index].reshape(grid, grid)
        fine = cv2.resize(np.asarray(coarse), (side, side), interpolation=cv2.INTER_LINEAR)
        mask = np.unpackbits(cache.masks[index], axis=-1, count=side)
        scores.append(np.asarray(fine)[::2, ::2].ravel())
        truths.append(mask[::2, ::2].ravel())
    return auroc(np.concatenate(scores), np.concatenate(truths))
