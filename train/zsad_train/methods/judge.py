"""From what retrieval finds to a prediction: what MRAD and EntroAD do, trained and baked alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsad_train.methods.base import Prediction
from zsad_train.methods.mrad_config import MradConfig
from zsad_train.retrieval import pool_neighbours
from zsad_train.similarity import adapted_logit, probability_logit, unit
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Reading, VisionFeatures


@dataclass(frozen=True)
class Sight:
    """What is compared of a batch of images, every feature of length 1.

    Attributes:
        image: (B, D).
        tokens: (B, P, width), pooled patches before CLIP's projection, which are retrieved with.
        patches: (B, P, D), pooled patches after it, which are compared with text.
        entropies: Per block (B, P) float32, where the method reads them.
    """

    image: Tensor
    tokens: Tensor
    patches: Tensor
    entropies: tuple[Tensor, ...]

    @classmethod
    def of(cls, features: VisionFeatures, grid_hw: tuple[int, int]) -> Sight:
        """Pool and normalise what the tower gave."""
        pooled = (pool_neighbours(x[0], grid_hw) for x in (features.tokens, features.patches))
        tokens, patches = (unit(x).to(x.dtype) for x in pooled)
        return cls(
            unit(features.image).to(features.image.dtype), tokens, patches, features.entropies
        )


class Judge(nn.Module):
    """From features to a prediction; the trained and the baked method differ in their parts.

    Attributes:
        config: The options.
        reading: What is read of the vision tower.
        patch_retrieval: Patches to logits.
        image_retrieval: Image features to logits.
        router: What retrieval found to the shifts of every branch of prompts.
        branches: The prompts, none where the map is the retrieved one.
        smooth: Patch maps to pixel maps.
        grid_hw: Patch rows and columns.
    """

    config: MradConfig
    reading: Reading
    patch_retrieval: nn.Module
    image_retrieval: nn.Module
    router: nn.Module
    branches: nn.ModuleList
    smooth: UpsampleBlur
    grid_hw: tuple[int, int]

    def encode(self, branch: int, shift: Tensor) -> Tensor:
        """Return the text pairs (B, 2, D) of one branch, shifted per image."""
        raise NotImplementedError

    def judge(self, features: VisionFeatures) -> Prediction:
        """Return the prediction from what the tower gave."""
        sight = Sight.of(features, self.grid_hw)
        retrieved = self.patch_retrieval(sight.tokens)
        grid = self._map(sight, retrieved) if len(self.branches) else retrieved.sigmoid()
        anomaly_map = self.smooth(self.on_grid(grid)).clamp(0, 1)
        highest = anomaly_map.flatten(1).topk(self.config.top_pixels(anomaly_map.shape[1:])).values
        image, weight = self.image_retrieval(sight.image), self.config.weight_image
        local = (1 - weight) * highest.mean(dim=1)
        score = weight * image.sigmoid() + local
        rest = weight * (-image).sigmoid() + (1 - weight) - local
        return Prediction(score, anomaly_map, probability_logit(score, rest))

    def on_grid(self, patches: Tensor) -> Tensor:
        """Return patches (B, P, ...) as (B, rows, cols, ...)."""
        return patches.reshape(-1, *self.grid_hw, *patches.shape[2:])

    def _map(self, sight: Sight, retrieved: Tensor) -> Tensor:
        tau, maps = self.config.tau, []
        for branch, shift in enumerate(self.router(sight, retrieved)):
            maps.append(adapted_logit(sight.patches, self.encode(branch, shift), tau).sigmoid())
        weighted = zip(self.config.map_weights, maps, strict=True)
        return torch.stack([weight * branch_map for weight, branch_map in weighted]).sum(dim=0)
