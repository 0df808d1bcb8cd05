"""DIVE: Disentangled and text-Injected Visual Embeddings (arXiv 2606.29428).

Two prompt learners run side by side in the text tower: one for the state of an object, one for
what the object is (section 4.1). Text enters the vision tower twice: the first semantic tokens as
visual prompts, and a bank of described states by cross-attention in the last blocks (4.2). The
image embedding is split into a state and a semantic part that are kept orthogonal (4.3). The state
part gives the image score, the patches against the state prompts give the map (4.4).

At inference all of the text is constant and no class name is needed: `bake` keeps the vision
tower, the state embeddings, the visual prompts, and K and V of the bank.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad_train.descriptions import encode_sentences
from zsad_train.injection import DescriptionAttention
from zsad_train.losses import grid_segmentation_loss, pairwise_cosine, squared_cosine
from zsad_train.methods.base import Batch, Method, Prediction, TrainingWords
from zsad_train.methods.dive_config import PRESETS, DiveConfig
from zsad_train.prompts import PromptLearner
from zsad_train.similarity import SimilarityHead, abnormal_grid, cosine_logits
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Backbone, VisionFeatures


class Dive(Method):
    """The method with its text encoders attached, as it is trained."""

    name = "dive"
    config_type = DiveConfig
    presets = PRESETS
    attends_to_descriptions = True
    bank: Tensor

    def __init__(self, backbone: Backbone, config: DiveConfig, words: TrainingWords) -> None:
        """Draw every trainable parameter from torch's global generator.

        Raises:
            InputError: The options do not fit the backbone, or a text does not fit its context.
        """
        super().__init__(backbone, config, words)
        text, vision = backbone.text, backbone.vision
        width, joint = vision.width, text.embed_dim
        config.check_blocks(vision.depth)

        # Section 4.1: a state learner with a normal and an abnormal side, and a semantic learner.
        learner = partial(
            PromptLearner,
            backbone,
            length=config.context_length,
            deep_sets=config.depth_for(text.depth) - 1,
            deep_length=config.deep_tokens,
        )
        self.normal = learner([config.normal_words])
        self.abnormal = learner(
            [config.abnormal_words] * config.abnormal_prompts, **self._compound_options()
        )
        self.semantic = learner([name.replace("_", " ") for name in words.classes])

        # Section 4.2: shallow injection F, then W and one cross-attention per chosen block.
        self.coupling = nn.Linear(text.width, width)
        self.bank_projection = nn.Linear(joint, width, bias=False)
        self.cross_attention = nn.ModuleList(
            DescriptionAttention(
                width,
                heads=config.ca_heads,
                head_width=config.head_width_for(width),
                weight=config.ca_weight,
                pre_norm=config.ca_pre_norm,
                zero_init=config.ca_zero_init,
            )
            for _ in config.ca_after_blocks
        )
        bank = encode_sentences(backbone, (*words.abnormal, *words.normal))
        bank = F.normalize(bank, dim=-1) if config.bank_normalised else bank
        self.register_buffer("bank", bank, persistent=False)  # (T, D)

        # Section 4.3: one residual branch per subspace.
        self.state_branch = _branch(joint, config.mlp_ratio)
        self.semantic_branch = _branch(joint, config.mlp_ratio)

        # Section 4.4: upsampling and Gaussian of the inference map.
        sigma_px = config.sigma * min(vision.image_hw)
        self.smooth = UpsampleBlur(vision.grid_hw, vision.image_hw, sigma_px)

    def _compound_options(self) -> dict[str, Any]:
        """FAPrompt's compound prompts: the normal context, then own tokens per abnormal prompt."""
        if self.config.abnormal_prompts == 1:
            return {}
        return {"own_length": self.config.compound_length, "context": self.normal.context}

    def state_text(self) -> tuple[Tensor, Tensor]:
        """Return T_state (2, D), [normal, abnormal], and the abnormal prompts (n, D) behind it.

        With several abnormal prompts the abnormal row is their prototype, the mean of the
        embeddings before any normalisation (FAPrompt).
        """
        normal = self.normal(self.backbone.text)
        abnormal = self.abnormal(self.backbone.text)
        return torch.cat([normal, abnormal.mean(dim=0, keepdim=True)]), abnormal

    def visual_prompts(self) -> Tensor:
        """Return V_p (k, width): F of the first k semantic tokens, before any text block."""
        visible = self.semantic.context[: self.config.visual_prompts]
        return torch.as_tensor(self.coupling(visible))

    def injections(self) -> dict[int, DescriptionAttention]:
        """Return the cross-attention layers by the block after which they act."""
        layers = cast("Iterable[DescriptionAttention]", self.cross_attention)
        return dict(zip(self.config.ca_after_blocks, layers, strict=True))

    def see(self, images: Tensor, visual_prompts: Tensor) -> VisionFeatures:
        """Return g and f of images (B, 3, H, W), with text injected on the way (section 4.2)."""
        bank = self.bank_projection(self.bank)  # T W, (T, width)
        features: VisionFeatures = self.backbone.vision(
            images,
            prompts=visual_prompts,
            vv_from_block=self.config.vv_from_block,
            injections={b: partial(layer, bank=bank) for b, layer in self.injections().items()},
            cls_ln_post=self.config.cls_ln_post,
        )
        return features

    def forward(self, images: Tensor) -> Prediction:
        """Score images the way the paper states it (Eq. 6), with all text encoded anew."""
        text, _ = self.state_text()
        features = self.see(images, self.visual_prompts())
        state = features.image + self.state_branch(features.image)  # Eq. 5
        logits = cosine_logits(state, text, self.config.tau)  # (B, 2)
        grid = self._abnormal_grid(features.patches[-1], text)
        return Prediction(
            score=logits.softmax(dim=-1)[:, 1],
            anomaly_map=self.smooth(grid).clamp(0, 1),
            score_logit=logits[:, 1] - logits[:, 0],
        )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the five terms of section 4.4, weighted, and FAPrompt's with compound prompts."""
        config = self.config
        text, abnormal_prompts = self.state_text()
        visual_prompts = self.visual_prompts()
        features = self.see(batch.images, visual_prompts)
        state_offset = self.state_branch(features.image).float()  # Eq. 5, d_state
        semantic_offset = self.semantic_branch(features.image).float()

        state = cosine_logits(features.image + state_offset, text, config.tau)
        classes = self.semantic(self.backbone.text)
        semantic = cosine_logits(features.image + semantic_offset, classes, config.tau)
        overlap = squared_cosine(state_offset, semantic_offset)
        terms = {
            "state": F.cross_entropy(state, batch.labels),
            "segmentation": self._segmentation(features.patches[-1], text, batch),
            "semantic": config.weight_semantic * F.cross_entropy(semantic, batch.class_ids),
            "disentangle": config.weight_disentangle * overlap,
            "prompt_norm": config.weight_prompt_norm * visual_prompts.float().square().mean(),
        }
        if config.abnormal_prompts > 1:
            terms["orthogonality"] = config.weight_orthogonality * pairwise_cosine(abnormal_prompts)
        return terms

    def _segmentation(self, patches: Tensor, text: Tensor, batch: Batch) -> Tensor:
        grid = self._abnormal_grid(patches, text)
        return grid_segmentation_loss(grid, batch.masks, batch.has_mask, self.config.focal_gamma)

    def _abnormal_grid(self, patches: Tensor, text: Tensor) -> Tensor:
        return abnormal_grid(patches, text, self.config.tau, self.backbone.vision.grid_hw)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return prompt learners with F, cross-attention with W, and the two branches."""
        groups: dict[str, list[nn.Module]] = {
            "prompts": [self.normal, self.abnormal, self.semantic, self.coupling],
            "cross_attention": [self.bank_projection, self.cross_attention],
            "mlp": [self.state_branch, self.semantic_branch],
        }
        return {name: list(nn.ModuleList(parts).parameters()) for name, parts in groups.items()}

    def bake(self) -> nn.Module:
        """Return the inference graph with every text as a constant."""
        return BakedDive(self)


class BakedDive(nn.Module):
    """What remains of DIVE at inference: the vision tower, one branch, constants."""

    prompts: Tensor

    @torch.no_grad()
    def __init__(self, dive: Dive) -> None:
        """Encode the text once; the copy shares nothing with `dive`."""
        super().__init__()
        config = dive.config
        self.vision = copy.deepcopy(dive.backbone.vision)
        self.state_branch = copy.deepcopy(dive.state_branch)
        self.smooth = copy.deepcopy(dive.smooth)
        bank = dive.bank_projection(dive.bank)
        self.injections = nn.ModuleList(layer.bake(bank) for layer in dive.injections().values())
        self.head = SimilarityHead(dive.state_text()[0], config.tau)
        self.register_buffer("prompts", dive.visual_prompts().clone())
        self.after_blocks = config.ca_after_blocks
        self.vv_from_block = config.vv_from_block
        self.cls_ln_post = config.cls_ln_post
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Prediction:
        """Score images (B, 3, H, W) float, normalised; equals `Dive.forward`."""
        features = self.vision(
            images,
            prompts=self.prompts,
            vv_from_block=self.vv_from_block,
            injections=dict(zip(self.after_blocks, self.injections, strict=True)),
            cls_ln_post=self.cls_ln_post,
        )
        score_logit = self.head(features.image + self.state_branch(features.image))
        abnormal = self.head(features.patches[-1]).sigmoid()  # (B, P)
        grid = abnormal.reshape(-1, *self.vision.grid_hw)
        return Prediction(score_logit.sigmoid(), self.smooth(grid).clamp(0, 1), score_logit)


def _branch(width: int, ratio: float) -> nn.Sequential:
    hidden = max(1, round(ratio * width))
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
