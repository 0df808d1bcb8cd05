"""The losses that train `tiny`: captions, states, dense states and defect types.

- caption: CLIP's contrastive loss, with every caption that is true of an image as a positive;
- state: the class token against "object" / "damaged object" sentences;
- dense: every patch against the same sentences, by the share of the patch that is defective;
- type: defective patches and anomalous images against one sentence for each defect type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import VisionTransformer
from torch import Tensor

from zsad_train.tiny import phrases
from zsad_train.tiny.batches import Batch, normalised
from zsad_train.tiny.config import tokenizer
from zsad_train.tiny.stem import FeatureMaps

TEMPERATURE = 0.07
"""Of every softmax over states and types; the family's value, also that of the methods."""

MIN_COVER = 0.02
"""A patch is defective from this share on, and unsure (left out) between 0 and it."""


@dataclass(frozen=True)
class Weights:
    """Weights of the losses."""

    caption: float = 0.5
    state: float = 2.0
    dense: float = 4.0
    type: float = 0.5
    positive_patch: float = 3.0  # defective patches are a few percent of all


def image_tokens(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Projected tokens of (B, 3, S, S) normalised images, class token first: (B, 1 + P, D)."""
    return joint_tokens(visual, visual.conv1(images))


def joint_tokens(visual: VisionTransformer, embedded: Tensor) -> Tensor:
    """Projected tokens of patches (B, W, G, G) that the stem has embedded: (B, 1 + P, D)."""
    x = embedded.flatten(2).transpose(1, 2) + visual.positional_embedding[1:]  # (B, P, W)
    first = (visual.class_embedding + visual.positional_embedding[0]).expand(x.shape[0], 1, -1)
    x = visual.ln_pre(torch.cat([first, x], dim=1))
    for block in visual.transformer.resblocks:
        x = block(x)
    joint: Tensor = visual.ln_post(x) @ visual.proj
    return joint


def sentence_embeddings(model: CLIP, token_ids: Tensor) -> Tensor:
    """Normalised sentence embeddings (n, D); the sequence is cut after the last end token."""
    end = token_ids.argmax(dim=-1)
    length = int(end.max()) + 1
    x = model.token_embedding(token_ids[:, :length]) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(end)), end]
    return F.normalize(x @ model.text_projection, dim=-1)


class Objective:
    """Computes the losses of a batch; its sentences are drawn from the step's generator.

    Args:
        model: What learns.
        weights: Of the terms.
        features: What the stem sees in (B, 3, S, S) images; its own network if not given.
    """

    def __init__(
        self,
        model: CLIP,
        weights: Weights,
        features: Callable[[Tensor], FeatureMaps] | None = None,
    ) -> None:
        self.model = model
        self.weights = weights
        self._features = features or model.visual.conv1.features
        self._tokenize = tokenizer()

    def losses(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """The weighted terms; their sum is the loss."""
        visual = self.model.visual
        embedded = visual.conv1.read(*self._features(normalised(batch.images)))
        tokens = F.normalize(joint_tokens(visual, embedded), dim=-1)
        image, patches = tokens[:, 0], tokens[:, 1:]
        captions, normal, damaged, types = self._sentences(batch, rng)
        w = self.weights
        return {
            "caption": w.caption * self._caption_loss(image, captions, batch),
            "state": w.state * _state_loss(image, normal, damaged, batch.labels),
            "dense": w.dense * self._dense_loss(patches, normal, damaged, batch.covered),
            "type": w.type * _type_loss(image, patches, normal, types, batch),
        }

    def _sentences(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, ...]:
        normal = phrases.pick(rng, phrases.NORMAL_STATES, 3)
        damaged = phrases.pick(rng, phrases.DAMAGED_STATES, 3)
        types = phrases.type_phrases(phrases.pick(rng, phrases.TYPE_TEMPLATES, 1)[0])
        groups = (list(batch.captions), normal, damaged, types)
        ids = self._tokenize([sentence for group in groups for sentence in group])
        embedded = sentence_embeddings(self.model, ids.to(batch.images.device))
        ends = np.cumsum([len(group) for group in groups]).tolist()
        return tuple(embedded.tensor_split(ends[:-1]))

    def _caption_loss(self, image: Tensor, captions: Tensor, batch: Batch) -> Tensor:
        logits = self.model.logit_scale.exp().clamp(max=100) * (image @ captions.T)
        truth = _true_of(batch)
        to_text = -(F.log_softmax(logits, 1) * truth).sum(1) / truth.sum(1)
        to_image = -(F.log_softmax(logits, 0) * truth).sum(0) / truth.sum(0)
        return 0.5 * (to_text.mean() + to_image.mean())

    def _dense_loss(
        self, patches: Tensor, normal: Tensor, damaged: Tensor, covered: Tensor
    ) -> Tensor:
        logits = _state_logit(patches, normal, damaged)  # (B, K)
        defective = (covered >= MIN_COVER).float()
        sure = 1 - ((covered > 0) & (covered < MIN_COVER)).float()
        weight = sure * (1 + (self.weights.positive_patch - 1) * defective)
        loss = F.binary_cross_entropy_with_logits(logits, defective, weight, reduction="sum")
        return loss / weight.sum()


def _true_of(batch: Batch) -> Tensor:
    """(B, B): 1 where caption j is true of image i."""
    names = {name: i for i, name in enumerate(sorted(set(batch.classes)))}
    classes = torch.tensor([names[name] for name in batch.classes], device=batch.types.device)
    same_type = batch.types[:, None] == batch.types[None]
    same_class = (classes[:, None] == classes[None]) | batch.generic[None]
    return (same_type & same_class).float()


def _state_logit(tokens: Tensor, normal: Tensor, damaged: Tensor) -> Tensor:
    """Two-class softmax as one logit: the difference of the mean cosines over the temperature."""
    direction = damaged.mean(0) - normal.mean(0)
    return tokens @ direction / TEMPERATURE


def _state_loss(image: Tensor, normal: Tensor, damaged: Tensor, labels: Tensor) -> Tensor:
    logits = _state_logit(image, normal, damaged)
    return F.binary_cross_entropy_with_logits(logits, labels.float())


def _type_loss(
    image: Tensor, patches: Tensor, normal: Tensor, types: Tensor, batch: Batch
) -> Tensor:
    """Cross-entropy over the normal state and the types, for images and for defective patches."""
    table = torch.cat([normal.mean(0, keepdim=True), types])  # (1 + T, D)
    loss = F.cross_entropy(image @ table.T / TEMPERATURE, batch.types + 1)
    rows, columns = torch.nonzero(batch.covered >= MIN_COVER, as_tuple=True)
    if len(rows):
        logits = patches[rows, columns] @ table.T / TEMPERATURE
        loss = loss + F.cross_entropy(logits, batch.types[rows] + 1)
    return loss
