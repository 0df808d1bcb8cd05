"""Methods that compare an image and its patches with one pair of texts: normal and abnormal.

The image score is the two-class softmax of the CLS feature against the pair, the map that of the
patches of every tap, averaged. Nothing of the image reaches the text, so `bake` keeps the vision
tower and one constant vector.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from zsad_train.methods.base import Method, Prediction, TrainingWords
from zsad_train.similarity import SimilarityHead, abnormal_grid, cosine_logits
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Backbone, Reading


class PairMethod(Method):
    """A method whose text is one pair of embeddings; subclasses say where it comes from."""

    reading: Reading

    def __init__(
        self, backbone: Backbone, config: Any, words: TrainingWords, reading: Reading
    ) -> None:
        """Take over the reading; `config` has `tau` and `sigma`, a share of the shorter side."""
        super().__init__(backbone, config, words)
        vision = backbone.vision
        self.reading = reading
        self.smooth = UpsampleBlur(
            vision.grid_hw, vision.image_hw, config.sigma * min(vision.image_hw)
        )

    def state_text(self) -> Tensor:
        """Return the text pair (2, D), [normal, abnormal], not normalised."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Prediction:
        """Score images with all text encoded anew."""
        text = self.state_text()
        features = self.reading(self.backbone.vision, images)
        logits = cosine_logits(features.image, text, self.config.tau)  # (B, 2)
        grids = torch.stack([self.grid(patches, text) for patches in features.patches])
        return Prediction(
            score=logits.softmax(dim=-1)[:, 1],
            anomaly_map=self.smooth(grids.mean(dim=0)).clamp(0, 1),
            score_logit=logits[:, 1] - logits[:, 0],
        )

    def grid(self, patches: Tensor, text: Tensor) -> Tensor:
        """Return the abnormal probability (B, rows, cols) of one tap's patches (B, P, D)."""
        return abnormal_grid(patches, text, self.config.tau, self.backbone.vision.grid_hw)

    def bake(self) -> nn.Module:
        """Return the inference graph with the text pair as a constant."""
        return BakedPair(self)


class BakedPair(nn.Module):
    """What remains of a `PairMethod` at inference: the vision tower and one direction."""

    @torch.no_grad()
    def __init__(self, method: PairMethod) -> None:
        """Encode the text once; the copy shares nothing with `method`."""
        super().__init__()
        self.reading = method.reading
        self.vision = copy.deepcopy(method.backbone.vision)
        self.smooth = copy.deepcopy(method.smooth)
        self.head = SimilarityHead(method.state_text(), method.config.tau)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Prediction:
        """Score images (B, 3, H, W) float, normalised; equals `PairMethod.forward`."""
        features = self.reading(self.vision, images)
        score_logit = self.head(features.image)
        # The blur is linear: averaging the taps first leaves one map to smooth.
        abnormal = sum(self.head(patches).sigmoid() for patches in features.patches)
        grid = abnormal.reshape(-1, *self.vision.grid_hw) / len(features.patches)
        return Prediction(score_logit.sigmoid(), self.smooth(grid).clamp(0, 1), score_logit)
