"""DAPO: defect-aware hybrid prompts with progressive tuning (arXiv 2512.09446).

Normality and every defect type are prompts of learned tokens and words. A patch is compared with
all of them at once, so that a map says what kind of anomaly is where, and the sum over the types
whether there is one. Learned tokens stand beside the text's and the patches' own in every block.

No image reaches the text: it is a table with one row for normality and one per type. The exported
graph takes it as an input, so that users name the defects of their own part.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.errors import InputError
from zsad_train.losses import dice_loss, type_focal_loss
from zsad_train.methods.base import (
    NO_TYPE,
    Batch,
    Method,
    OpenText,
    TrainingWords,
    TypedPrediction,
)
from zsad_train.methods.dapo_config import PRESETS, DapoConfig
from zsad_train.similarity import cosine_logits, pair_logit, unit
from zsad_train.smoothing import UpsampleBlur, upsample
from zsad_train.towers import Backbone, InsertedTokens, VisionTower
from zsad_train.type_prompts import Sentences, TypeEncoder, TypePrompts


class TypeVision(nn.Module):
    """What is learned about images: tokens in every block, and a linear layer per tap."""

    def __init__(self, vision: VisionTower, config: DapoConfig) -> None:
        """Draw the tokens as visual prompt tuning does, the layers as torch does.

        Raises:
            InputError: A tap does not exist.
        """
        super().__init__()
        self.taps, self.carried = config.taps_for(vision.depth), config.carried
        bound = math.sqrt(6 / (3 * vision.patch_px**2 + vision.width))
        tokens = torch.empty(vision.depth, config.vision_tokens, vision.width)
        self.tokens = nn.Parameter(tokens.uniform_(-bound, bound))
        self.adapters = nn.ModuleList(nn.Linear(vision.width, vision.embed_dim) for _ in self.taps)

    def forward(self, vision: VisionTower, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the image feature (B, D) and each tap's patches (B, P, D), not normalised."""
        features = vision(
            images,
            taps=self.taps,
            inserted=InsertedTokens(self.tokens, self.carried),
            tokens_as="raw",
            project_patches=False,
        )
        pairs = zip(self.adapters, features.tokens, strict=True)
        return features.image, [adapter(patches) for adapter, patches in pairs]


class TypeReadout(nn.Module):
    """From features and a text table to scores and maps."""

    def __init__(self, vision: VisionTower, config: DapoConfig) -> None:
        """Build the resize of the maps."""
        super().__init__()
        self.tau, self.grid_hw = config.tau, vision.grid_hw
        self.smooth = UpsampleBlur(
            vision.grid_hw,
            vision.image_hw,
            config.sigma * min(vision.image_hw),
            config.upsampling,
        )

    def forward(self, image: Tensor, patches: list[Tensor], table: Tensor) -> TypedPrediction:
        """Compare an image feature (B, D) and every tap's patches (B, P, D) with (1 + K, D)."""
        score_logit = pair_logit(image, state_pair(table), self.tau)
        grids = torch.stack([self.grid(each, table) for each in patches]).mean(dim=0)[:, 1:]
        return TypedPrediction(
            score=score_logit.sigmoid(),
            anomaly_map=self.smooth(grids.sum(dim=1)).clamp(0, 1),
            score_logit=score_logit,
            type_map=self.smooth(grids).clamp(0, 1),
            type_score=grids.flatten(2).amax(dim=2),
        )

    def grid(self, patches: Tensor, table: Tensor) -> Tensor:
        """Return the probabilities (B, 1 + K, rows, cols) of one tap's patches (B, P, D)."""
        probability = cosine_logits(patches, table, self.tau).softmax(dim=-1)
        return probability.mT.reshape(-1, table.shape[0], *self.grid_hw)


class Dapo(Method):
    """The method with its text encoder attached, as it is trained."""

    name = "dapo"
    config_type = DapoConfig
    presets = PRESETS
    names_types = True
    type_ids: Tensor
    type_end: Tensor
    normal_ids: Tensor
    normal_end: Tensor

    def __init__(self, backbone: Backbone, config: DapoConfig, words: TrainingWords) -> None:
        """Draw every trainable parameter from torch's global generator.

        Raises:
            InputError: There are no types, one is too long, or the options do not fit the backbone.
        """
        super().__init__(backbone, config, words)
        if not words.types:
            raise InputError("dapo: there is no defect type to learn or to look for: name some")
        self.prompts = TypePrompts(backbone, config)
        self.looks = TypeVision(backbone.vision, config)
        self.readout = TypeReadout(backbone.vision, config)
        types = self.prompts.tokenize_types(backbone, words.types)
        normal = self.prompts.tokenize_normal(backbone)
        for name, sentences in (("type", types), ("normal", normal)):
            self.register_buffer(f"{name}_ids", sentences.ids, persistent=False)
            self.register_buffer(f"{name}_end", sentences.end, persistent=False)

    def text_table(self) -> Tensor:
        """Return the text table (1 + K, D) float32 of the words it has, rows of length 1."""
        normal = Sentences(self.normal_ids, self.normal_end)
        types = Sentences(self.type_ids, self.type_end)
        return self.prompts.table(self.backbone.text, normal, types)

    def forward(self, images: Tensor) -> TypedPrediction:
        """Score images with all text encoded anew."""
        prediction: TypedPrediction = self.readout(
            *self.looks(self.backbone.vision, images), self.text_table()
        )
        return prediction

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted local and image terms."""
        table = self.text_table()
        image, patches = self.looks(self.backbone.vision, batch.images)
        logits = cosine_logits(image, state_pair(table), self.config.tau)
        local = torch.stack([self._local(self.readout.grid(p, table), batch) for p in patches])
        return {
            "local": self.config.weight_local * local.sum(),
            "image": self.config.weight_image * F.cross_entropy(logits, batch.labels),
        }

    def _local(self, grid: Tensor, batch: Batch) -> Tensor:
        """Return focal and both dice terms of one tap's probabilities (B, 1 + K, rows, cols).

        Images without pixel labels do not enter. A defect of no known type teaches normal against
        anomalous, by the dice terms, but no type.
        """
        if not batch.has_mask.any():
            return grid.sum() * 0
        size = batch.masks.shape[-2:]
        full = upsample(grid[batch.has_mask], size, self.config.upsampling)
        masks, target, known = self._targets(batch)
        local = dice_loss(full[:, 0], 1 - masks) + dice_loss(full[:, 1:].sum(dim=1), masks)
        if known.any():
            gamma = self.config.focal_gamma
            local = local + type_focal_loss(full[known], target[known], gamma)
        return local

    def _targets(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return masks and classes of pixels, and which images have a class for every pixel.

        All three are of the images with pixel labels.
        """
        masks, labels = batch.masks[batch.has_mask], batch.labels[batch.has_mask]
        types = torch.full_like(labels, NO_TYPE)
        if len(batch.type_ids):
            types = batch.type_ids[batch.has_mask]
        target = (masks > 0.5).long() * (1 + types)[:, None, None]  # (B, H, W), 0 is normal
        return masks, target, (types != NO_TYPE) | (labels == 0)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all that is learned."""
        return {"prompts": list(nn.ModuleList([self.prompts, self.looks]).parameters())}

    def bake(self) -> nn.Module:
        """Return the inference graph, images and text table -> `TypedPrediction`."""
        return BakedDapo(self)

    @torch.no_grad()
    def open_text(self) -> OpenText:
        """Return the table of the words it has, and what encodes others."""
        encoder = TypeEncoder(self.backbone.text, self.prompts)
        return OpenText(self.text_table(), encoder, self.prompts.template)


class BakedDapo(nn.Module):
    """What remains of DAPO at inference: the vision tower, and the comparison with a table."""

    def __init__(self, method: Dapo) -> None:
        """Copy what is needed; nothing is shared with `method`."""
        super().__init__()
        self.vision = copy.deepcopy(method.backbone.vision)
        self.looks = copy.deepcopy(method.looks)
        self.readout = copy.deepcopy(method.readout)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, text_table: Tensor) -> TypedPrediction:
        """Score images (B, 3, H, W) float, normalised, against a text table (1 + K, D)."""
        prediction: TypedPrediction = self.readout(*self.looks(self.vision, images), text_table)
        return prediction


def state_pair(table: Tensor) -> Tensor:
    """Return [normal, mean type] (2, D) float32 of a text table (1 + K, D)."""
    rows = unit(table)
    return torch.cat([rows[:1], rows[1:].mean(dim=0, keepdim=True)])
