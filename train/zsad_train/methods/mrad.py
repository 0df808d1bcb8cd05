"""MRAD: zero-shot anomaly detection by retrieval from a memory (ICLR 2026, arXiv 2602.00522).

Two memories of labelled training features, one of images and one of regions, say how abnormal an
image and its patches are (MRAD-FT). The retrieved map splits the patches into a normal and an
abnormal region, whose mean features shift two learned prompts, so that the text is encoded anew
for every image; the map is that of the patches against the text (MRAD-CLIP). Retrieval is learned
first, then the prompts.

The vision tower carries no learned parameter, so no gradient passes through it. At inference
`bake` multiplies the memories into one linear layer each and keeps of the text in the graph what
the shift reaches.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad_train.losses import grid_segmentation_loss
from zsad_train.methods.base import Batch, Method, Prediction, TrainingWords
from zsad_train.methods.judge import Judge, Sight
from zsad_train.methods.mrad_config import PRESETS, MradConfig
from zsad_train.prompts import PromptLearner
from zsad_train.retrieval import Retrieval, pool_neighbours, region_keys
from zsad_train.shifted_prompts import ShiftedPrompts
from zsad_train.similarity import pair_logit, unit
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Backbone, Reading


class RegionShift(nn.Module):
    """The shift of the normal and of the abnormal prompt, each from the mean of its region."""

    def __init__(self, joint: int, width: int, threshold: float) -> None:
        """Create one linear layer per region, from D = `joint` to the text's width."""
        super().__init__()
        self.threshold = threshold
        self.normal = nn.Linear(joint, width)
        self.abnormal = nn.Linear(joint, width)

    def forward(self, sight: Sight, logit: Tensor) -> tuple[Tensor, ...]:
        """Return the shifts of every branch, here one, (B, 2, width).

        Args:
            sight: What is seen.
            logit: (B, P) float32, how abnormal retrieval finds each patch.
        """
        abnormal = (logit.sigmoid() > self.threshold).float()
        regions = torch.stack([1 - abnormal, abnormal], dim=1)  # (B, 2, P)
        # A region that is not there has the zero feature.
        shares = regions / regions.sum(dim=2, keepdim=True).clamp_min(1)
        tokens = shares.to(sight.patches.dtype) @ sight.patches  # (B, 2, D)
        return (torch.stack([self.normal(tokens[:, 0]), self.abnormal(tokens[:, 1])], dim=1),)


class Mrad(Judge, Method):
    """The method with its text encoder attached, as it is trained.

    Attributes:
        retrieving: Whether this epoch learns the retrieval, not the prompts.
    """

    name = "mrad"
    config_type = MradConfig
    presets: ClassVar[Mapping[str, MradConfig]] = PRESETS
    pos_resize = "bilinear"
    reading: Reading
    patch_retrieval: Retrieval
    image_retrieval: Retrieval

    def __init__(self, backbone: Backbone, config: MradConfig, words: TrainingWords) -> None:
        """Draw every trainable parameter from torch's global generator.

        Raises:
            InputError: The options do not fit the backbone.
        """
        super().__init__(backbone, config, words)
        vision, joint = backbone.vision, backbone.text.embed_dim
        self.reading = config.reading_for(vision.depth)
        self.grid_hw = vision.grid_hw
        self.retrieving = True
        self.patch_retrieval = Retrieval(vision.width, joint)
        self.image_retrieval = Retrieval(joint, joint)
        self.branches = nn.ModuleList(self.make_branches() if config.maps == "text" else [])
        self.router = self.make_router() if config.maps == "text" else nn.Identity()
        sigma_px = config.sigma * min(vision.image_hw)
        self.smooth = UpsampleBlur(vision.grid_hw, vision.image_hw, sigma_px)

    def make_branches(self) -> list[PromptLearner]:
        """Return the learned prompts: a normal and an abnormal one, that share nothing but depth.

        All learned tokens are their own, since retrieval shifts them all.
        """
        config = self.config
        pair = PromptLearner(
            self.backbone,
            [config.normal_words, config.abnormal_words],
            length=0,
            own_length=config.context_length,
            deep_sets=config.depth_for(self.backbone.text.depth) - 1,
            deep_length=config.deep_length,
            deep_half=config.deep_half,
        )
        return [pair]

    def make_router(self) -> nn.Module:
        """Return what turns the retrieved map into shifts of the prompts."""
        text = self.backbone.text
        return RegionShift(text.embed_dim, text.width, self.config.region_threshold)

    def encode(self, branch: int, shift: Tensor) -> Tensor:
        """Return the text pairs (B, 2, D) of one branch, shifted per image."""
        text: Tensor = self.branches[branch](self.backbone.text, shift)
        return text

    def forward(self, images: Tensor) -> Prediction:
        """Score images with all text encoded anew."""
        return self.judge(self.reading(self.backbone.vision, images))

    @torch.no_grad()
    def memorise(self, batches: Iterable[Batch]) -> None:
        """Fill both memories: every image's feature, and the mean of its regions.

        Raises:
            InputError: The data has no normal or no defective patch, or more than fits.
        """
        images: list[tuple[Tensor, Tensor]] = []
        regions: list[tuple[Tensor, Tensor]] = []
        for batch in batches:
            features = self.look(batch)
            images.append((unit(features.image), batch.labels))
            grid = self.on_grid(pool_neighbours(features.tokens[0], self.grid_hw))
            known = batch.has_mask
            regions.append(region_keys(grid[known].float(), batch.masks[known]))
        limit = self.config.memory_limit
        for retrieval, found, what in (
            (self.image_retrieval, images, "image"),
            (self.patch_retrieval, regions, "patch"),
        ):
            keys, labels = (torch.cat(part) for part in zip(*found, strict=True))
            retrieval.memory.fill(keys, labels, limit=limit, what=what)

    def begin_epoch(self, epoch: int) -> None:
        """Learn the retrieval first, and the prompts in all later epochs."""
        self.retrieving = epoch <= self.config.retrieval_epochs or not self.branches

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the stage that the epoch is in."""
        sight = Sight.of(self.look(batch), self.grid_hw)
        if self.retrieving:
            return self._retrieval_loss(sight, batch)
        with torch.no_grad():  # learned, and from now on as it is
            retrieved = self._shares(sight.tokens).logit()
        return self.prompt_loss(sight, retrieved, batch)

    def _shares(self, tokens: Tensor) -> Tensor:
        return self.patch_retrieval.share(tokens, self.config.hidden_patches)

    def _retrieval_loss(self, sight: Sight, batch: Batch) -> dict[str, Tensor]:
        share = self.image_retrieval.share(sight.image, self.config.hidden_images)
        shares = torch.stack([1 - share, share], dim=1)
        return {
            "retrieved_maps": self._segmentation(self._shares(sight.tokens), batch, dice=False),
            # The code hands shares, not their logits, to the cross-entropy.
            "retrieved_image": F.cross_entropy(shares / self.config.tau, batch.labels),
        }

    def prompt_loss(self, sight: Sight, retrieved: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the epochs that learn the prompts.

        Args:
            sight: What is seen of the batch.
            retrieved: (B, P) float32, the retrieved logits.
            batch: The labels.
        """
        (shift,) = self.router(sight, retrieved)
        return {"maps": self.map_loss(0, shift, sight, batch)}

    def map_loss(self, branch: int, shift: Tensor, sight: Sight, batch: Batch) -> Tensor:
        """Return focal and both dice terms of the map of one branch."""
        logit = pair_logit(sight.patches, self.encode(branch, shift), self.config.tau)
        return self._segmentation(logit.sigmoid(), batch, dice=True)

    def _segmentation(self, patches: Tensor, batch: Batch, *, dice: bool) -> Tensor:
        grid, gamma = self.on_grid(patches), self.config.focal_gamma
        return grid_segmentation_loss(grid, batch.masks, batch.has_mask, gamma, normal_dice=dice)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all that is learned; what a stage does not reach has no gradient in it."""
        parts = [self.patch_retrieval, self.image_retrieval, self.router, self.branches]
        learned = nn.ModuleList(parts).parameters()
        return {"prompts": [parameter for parameter in learned if parameter.requires_grad]}

    def bake(self) -> nn.Module:
        """Return the inference graph, its text constant as far as no image reaches it."""
        return BakedMrad(self)


class BakedMrad(Judge):
    """What remains of the method at inference."""

    @torch.no_grad()
    def __init__(self, method: Mrad) -> None:
        """Bake memories and prompts; the copy shares nothing with `method`."""
        super().__init__()
        self.config = method.config
        self.grid_hw = method.grid_hw
        self.reading = method.reading
        self.vision = copy.deepcopy(method.backbone.vision)
        self.smooth = copy.deepcopy(method.smooth)
        self.router = copy.deepcopy(method.router)
        self.patch_retrieval = method.patch_retrieval.bake()
        self.image_retrieval = method.image_retrieval.bake()
        self.branches = nn.ModuleList()
        for learner in cast("Iterable[PromptLearner]", method.branches):
            shared = cast("ShiftedPrompts", self.branches[0]) if len(self.branches) else None
            self.branches.append(learner.bake(method.backbone.text, shared))
        self.requires_grad_(False).eval()

    def encode(self, branch: int, shift: Tensor) -> Tensor:
        """Return the text pairs (B, 2, D) of one branch, shifted per image."""
        text: Tensor = self.branches[branch](shift)
        return text

    def forward(self, images: Tensor) -> Prediction:
        """Score images (B, 3, H, W) float, normalised; equals `Mrad.forward`."""
        return self.judge(self.reading(self.vision, images))
