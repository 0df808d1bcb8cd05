"""AnomalyCLIP: object-agnostic prompt learning (ICLR 2024, arXiv 2310.18961).

Two templates that name no object, "object" and "damaged object" behind learned tokens, stand for
normality and abnormality of anything (section 3.2). Learned tokens in the deeper text blocks
refine the textual space, and V-V attention (DPAM) keeps the patches' features local (3.3). They
are learned from a global loss on the image score and a local one on the maps of several taps.

The vision tower carries no learned parameter, so no gradient passes through it.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad_train.losses import grid_segmentation_loss
from zsad_train.methods.anomalyclip_config import PRESETS, AnomalyClipConfig
from zsad_train.methods.base import Batch, TrainingWords
from zsad_train.methods.pair import PairMethod
from zsad_train.prompts import PromptLearner
from zsad_train.similarity import cosine_logits
from zsad_train.towers import Backbone


class AnomalyClip(PairMethod):
    """The method with its text encoder attached, as it is trained."""

    name = "anomalyclip"
    config_type = AnomalyClipConfig
    presets = PRESETS
    pos_resize = "bilinear"

    def __init__(self, backbone: Backbone, config: AnomalyClipConfig, words: TrainingWords) -> None:
        """Draw every trainable parameter from torch's global generator.

        Raises:
            InputError: The options do not fit the backbone.
        """
        super().__init__(backbone, config, words, config.reading_for(backbone.vision.depth))

        # Section 3.2: one context each; section 3.3: the deep tokens are one set for both.
        learner = partial(
            PromptLearner,
            backbone,
            length=config.context_length,
            deep_sets=config.depth_for(backbone.text.depth) - 1,
            deep_length=config.deep_length,
            deep_half=config.deep_half,
        )
        self.normal = learner([config.normal_words])
        self.abnormal = learner([config.abnormal_words], deep=self.normal.deep)

    def state_text(self) -> Tensor:
        """Return g_n and g_a, (2, D), not normalised."""
        text = self.backbone.text
        return torch.cat([self.normal(text), self.abnormal(text)])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the global and the weighted local term of section 3.3."""
        text = self.state_text()
        features = self.look(batch)
        logits = cosine_logits(features.image, text, self.config.tau)
        local = torch.stack([self._local(patches, text, batch) for patches in features.patches])
        return {
            "global": F.cross_entropy(logits, batch.labels),
            "local": self.config.weight_local * local.sum(),
        }

    def _local(self, patches: Tensor, text: Tensor, batch: Batch) -> Tensor:
        grid = self.grid(patches, text)
        return grid_segmentation_loss(grid, batch.masks, batch.has_mask, self.config.focal_gamma)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the prompt learners, the deep tokens that they share once."""
        return {"prompts": list(nn.ModuleList([self.normal, self.abnormal]).parameters())}
