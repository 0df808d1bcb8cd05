"""FAPrompt: fine-grained abnormality prompts that adapt to each image (ICCV 2025).

Several abnormal prompts, each a compound of the normal prompt's tokens and a few of its own, are
kept apart by an orthogonality loss and compared by their prototype (CAP, section 3.3). A prior
made of the most abnormal patches of an image shifts their own tokens, so that the text is encoded
anew for every image (DAP, 3.4). Maps come from both prototypes, before and after; the image score
is the mean of the image's and the highest patches' (3.5).

The vision tower carries no learned parameter, so no gradient passes through it. At inference the
text before DAP is constant, and of the text after it `bake` keeps in the graph what the shift
reaches: the abnormal prompts from their own tokens on, behind constant keys and values.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad_train.losses import binary_focal_loss, grid_segmentation_loss, pairwise_cosine
from zsad_train.methods.base import Batch, Method, Prediction, TrainingWords
from zsad_train.methods.faprompt_config import PRESETS, FaPromptConfig
from zsad_train.patch_prior import PatchPrior
from zsad_train.prompts import PromptLearner
from zsad_train.similarity import AdaptedHead, SimilarityHead, mean_probability, pair_logit
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Backbone, Reading, VisionFeatures


class Logits(NamedTuple):
    """How abnormal an image is, before and after DAP.

    Attributes:
        image: (B,) float32, the image feature against the adapted prompts.
        patches: (B, P) float32, the patches against the prompts before DAP.
        adapted: (B, P) float32, the patches against the adapted prompts.
    """

    image: Tensor
    patches: Tensor
    adapted: Tensor

    def score(self, weights: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
        """Return the image score (B,) of Eq. 9 and its logit."""
        highest = (self.patches.amax(dim=1), self.adapted.amax(dim=1))
        return mean_probability((self.image, *highest), weights)

    def grid(self, grid_hw: tuple[int, int]) -> Tensor:
        """Return the abnormal probability (B, rows, cols) of Eq. 12, before upsampling.

        The four maps of Eq. 12 are two, since the states' probabilities sum to 1.
        """
        mean = (self.patches.sigmoid() + self.adapted.sigmoid()) / 2
        return mean.reshape(-1, *grid_hw)


class FaPrompt(Method):
    """The method with its text encoder attached, as it is trained."""

    name = "faprompt"
    config_type = FaPromptConfig
    presets = PRESETS
    pos_resize = "bilinear"
    reading: Reading

    def __init__(self, backbone: Backbone, config: FaPromptConfig, words: TrainingWords) -> None:
        """Draw every trainable parameter from torch's global generator.

        Raises:
            InputError: The options do not fit the backbone.
        """
        super().__init__(backbone, config, words)
        text, vision = backbone.text, backbone.vision
        config.check_patches(vision.grid_hw[0] * vision.grid_hw[1])
        self.reading = config.reading_for(vision.depth)

        # Section 3.3: the normal prompt, and compounds of it that share its context and deep sets.
        self.normal = PromptLearner(
            backbone,
            [config.normal_words],
            length=config.context_length,
            deep_sets=config.depth_for(text.depth) - 1,
            deep_length=config.deep_length,
            deep_half=config.deep_half,
        )
        self.abnormal = PromptLearner(
            backbone,
            [config.abnormal_words] * config.abnormal_prompts,
            length=config.context_length,
            own_length=config.own_length,
            context=self.normal.context,
            deep=self.normal.deep,
            deep_half=config.deep_half,
        )

        # Section 3.4: the abnormality prior network.
        self.prior = PatchPrior(
            text.embed_dim,
            text.width,
            count=config.patches,
            ratio=config.prior_ratio,
            selection=config.patch_selection,
        )

        # Section 3.5: upsampling and Gaussian of the inference map.
        sigma_px = config.sigma * min(vision.image_hw)
        self.smooth = UpsampleBlur(vision.grid_hw, vision.image_hw, sigma_px)

    def state_text(self) -> tuple[Tensor, Tensor]:
        """Return [normal, prototype] before DAP, (2, D), and the abnormal prompts (K, D).

        The prototype is the mean of the prompts' embeddings before any normalisation.
        """
        normal = self.normal(self.backbone.text)
        abnormal = self.abnormal(self.backbone.text)
        return torch.cat([normal, abnormal.mean(dim=0, keepdim=True)]), abnormal

    def adapted_text(self, normal: Tensor, shift: Tensor) -> Tensor:
        """Return [normal, prototype] (B, 2, D) of every image, whose shift is (B, width) (Eq. 4).

        Args:
            normal: (D,), which no image changes.
            shift: What the prior network made of each image.
        """
        prototype = self.abnormal(self.backbone.text, shift).mean(dim=1)  # (B, D)
        return torch.stack([normal.expand_as(prototype), prototype], dim=1)

    def forward(self, images: Tensor) -> Prediction:
        """Score images with all text encoded anew, per image unless `dap` is `baked`."""
        text, _ = self.state_text()
        features = self.reading(self.backbone.vision, images)
        logits, _ = self._logits(features, text, adapt=self.config.dap == "exact")
        score, score_logit = logits.score(self.config.score_weights)
        grid = logits.grid(self.backbone.vision.grid_hw)
        return Prediction(score, self.smooth(grid).clamp(0, 1), score_logit)

    def _logits(
        self, features: VisionFeatures, text: Tensor, *, adapt: bool
    ) -> tuple[Logits, Tensor | None]:
        """Return the logits of images, and the shift that adapted their text, if it was."""
        tau = self.config.tau
        patches = features.patches[0]
        before = pair_logit(patches, text, tau)
        if not adapt:
            return Logits(pair_logit(features.image, text, tau), before, before), None
        shift = self.prior(patches, before)
        adapted = self.adapted_text(text[0], shift)
        image = pair_logit(features.image[:, None], adapted, tau)[:, 0]
        return Logits(image, before, pair_logit(patches, adapted, tau)), shift

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of Eq. 11, and the code's cross-entropy where it has weight."""
        config = self.config
        text, prompts = self.state_text()
        logits, shift = self._logits(self.look(batch), text, adapt=True)
        assert shift is not None
        score, score_logit = logits.score(config.score_weights)
        score_logit = score if config.score_as_logit else score_logit
        strength = shift.float().square().mean(dim=1)  # (B,)
        terms = {
            "maps": self._segmentation(logits.patches, batch),
            "adapted_maps": config.weight_adapted_maps * self._segmentation(logits.adapted, batch),
            "score": binary_focal_loss(score_logit, batch.labels, config.focal_gamma),
            "orthogonality": config.weight_orthogonality * pairwise_cosine(prompts),
            "prior": config.weight_prior * (strength * (batch.labels == 0)).sum(),
        }
        if config.weight_cross_entropy > 0:
            entropy = F.binary_cross_entropy_with_logits(logits.image, batch.labels.float())
            terms["cross_entropy"] = config.weight_cross_entropy * entropy
        return terms

    def _segmentation(self, patches: Tensor, batch: Batch) -> Tensor:
        grid = patches.sigmoid().reshape(-1, *self.backbone.vision.grid_hw)
        return grid_segmentation_loss(grid, batch.masks, batch.has_mask, self.config.focal_gamma)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all that is learned, the context and deep tokens that prompts share once."""
        parts = nn.ModuleList([self.normal, self.abnormal, self.prior])
        return {"prompts": list(parts.parameters())}

    def bake(self) -> nn.Module:
        """Return the inference graph, its text constant as far as no image reaches it."""
        return BakedFaPrompt(self)


class BakedFaPrompt(nn.Module):
    """What remains of FAPrompt at inference: the vision tower, and DAP's way into the text."""

    @torch.no_grad()
    def __init__(self, method: FaPrompt) -> None:
        """Encode the constant text once; the copy shares nothing with `method`."""
        super().__init__()
        config = method.config
        text, _ = method.state_text()
        self.score_weights = config.score_weights
        self.reading = method.reading
        self.vision = copy.deepcopy(method.backbone.vision)
        self.smooth = copy.deepcopy(method.smooth)
        self.head = SimilarityHead(text, config.tau)
        self.adapts = config.dap == "exact"
        if self.adapts:
            self.prior = copy.deepcopy(method.prior)
            self.prompts = method.abnormal.bake(method.backbone.text)
            self.adapted_head = AdaptedHead(text[0], config.tau)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Prediction:
        """Score images (B, 3, H, W) float, normalised; equals `FaPrompt.forward`."""
        features = self.reading(self.vision, images)
        logits = self._logits(features.image, features.patches[0])
        score, score_logit = logits.score(self.score_weights)
        grid = logits.grid(self.vision.grid_hw)
        return Prediction(score, self.smooth(grid).clamp(0, 1), score_logit)

    def _logits(self, image: Tensor, patches: Tensor) -> Logits:
        before = self.head(patches)
        if not self.adapts:
            return Logits(self.head(image), before, before)
        prompts = self.prompts(self.prior(patches, before))  # (B, K, D)
        prototype = prompts.float().mean(dim=1)
        adapted = self.adapted_head(patches, prototype)
        return Logits(self.adapted_head(image[:, None], prototype)[:, 0], before, adapted)
