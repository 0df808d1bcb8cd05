"""CoPS: prompts synthesised from what an image shows (CVPR 2026 Findings, arXiv 2508.03447).

A prompt is context, state and class. Explicit state tokens (ESTS) carry prototypes of the image's
normal and anomalous patches, which centre losses draw to the patches of their kind. Implicit class
tokens (ICTS) carry samples of an autoencoder of image features, so that no class is ever named. At
inference the samples come from the prior and the two texts are means over them; a patch's abnormal
probability is weighted by how far it is from the normal prototypes and how near to the anomalous
ones, and the image score has a share of the highest patch (SAGA).

The vision tower carries no learned parameter, so no gradient passes through it. The latents of the
samples are fixed by a seed, so that the class tokens are constants, and `bake` keeps in the graph
of the text what the prototypes reach, behind constant keys and values.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.errors import InputError
from zsad_train.class_samples import ClassSampler, reconstruction_error
from zsad_train.glocal import Alignment, align
from zsad_train.losses import grid_segmentation_loss
from zsad_train.methods.base import Batch, Method, Prediction, TrainingWords
from zsad_train.methods.cops_config import PRESETS, CopsConfig
from zsad_train.neighbours import average_neighbours
from zsad_train.prompts import PromptLearner
from zsad_train.prototypes import PrototypeExtractor, Prototypes
from zsad_train.shifted_prompts import SampledPrompts
from zsad_train.similarity import mean_direction
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers import Backbone, Reading, VisionFeatures


class Cops(Method):
    """The method with its text encoder attached, as it is trained."""

    name = "cops"
    config_type = CopsConfig
    presets = PRESETS
    pos_resize = "bilinear"
    reading: Reading

    def __init__(self, backbone: Backbone, config: CopsConfig, words: TrainingWords) -> None:
        """Draw every trainable parameter from torch's global generator.

        Raises:
            InputError: The options do not fit the backbone, or its text is not as wide as what it
                shares with images.
        """
        super().__init__(backbone, config, words)
        text, vision = backbone.text, backbone.vision
        _check_fits(backbone, config)
        self.reading = config.reading_for(vision.depth)
        learner = partial(
            PromptLearner,
            backbone,
            [""],
            length=config.context_length,
            own_length=config.state_length,
            deep_half=config.deep_half,
        )
        deep_sets = config.depth_for(text.depth) - 1
        self.normal = learner(deep_sets=deep_sets, deep_length=config.deep_length)
        self.abnormal = learner(deep=self.normal.deep)
        self.prototypes = PrototypeExtractor(
            text.width, count=config.prototypes, heads=config.heads_for(text.width)
        )
        self.classes = ClassSampler(text.width, samples=config.samples, seed=config.latent_seed)
        sigma_px = config.sigma * min(vision.image_hw)
        self.smooth = UpsampleBlur(vision.grid_hw, vision.image_hw, sigma_px, config.upsampling)

    def averaged(self, features: VisionFeatures, window: int) -> tuple[Tensor, Tensor]:
        """Return image features (B, D) and patches (B, P, D), averaged over a window's side."""
        grid_hw = self.backbone.vision.grid_hw
        return features.image, average_neighbours(features.patches[0], grid_hw, window)

    def image_text(self, prototypes: Prototypes, samples: Tensor) -> Tensor:
        """Return [normal, abnormal], (B, 2, D) float32, the texts of every image.

        Args:
            prototypes: Of the images.
            samples: (B or 1, R, width), decoded samples of the class.
        """
        batch, count = len(prototypes.normal), samples.shape[1]
        states = prototypes[::-1] if self.config.swap_prototypes else prototypes
        classes = samples[:, :, None].expand(batch, -1, self.config.class_tokens, -1)
        found = []
        for learner, state in zip((self.normal, self.abnormal), states, strict=True):
            repeated = state[:, None].expand(-1, count, -1, -1)
            shift = torch.cat([repeated, classes], dim=2).flatten(0, 1)  # (B R, state_length, w)
            embedded = learner(self.backbone.text, shift[:, None])[:, 0]
            found.append(embedded.unflatten(0, (batch, count)))
        return mean_direction(torch.stack(found, dim=1))

    def forward(self, images: Tensor) -> Prediction:
        """Score images with all text encoded anew, for each of them."""
        features = self.reading(self.backbone.vision, images)
        image, patches = self.averaged(features, self.config.window)
        prototypes = self.prototypes(patches)
        text = self.image_text(prototypes, self.classes.prior()[None])
        alignment = align(image, patches, prototypes, text, self.config.tau)
        found = alignment.weigh(self.config.distance_share, self.config.image_share)
        grid = found.abnormal.reshape(-1, *self.backbone.vision.grid_hw)
        return Prediction(found.score, self.smooth(grid).clamp(0, 1), found.score_logit)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms; the class of an image is sampled anew at every call."""
        config = self.config
        image, patches = self.averaged(self.look(batch), config.train_window)
        sample, prototypes = self.classes(image), self.prototypes(patches)
        # Only the centre losses teach the prototypes.
        shown = Prototypes(prototypes.normal.detach(), prototypes.anomalous.detach())
        text = self.image_text(shown, sample.decoded[:, None])
        alignment = align(image, patches, prototypes, text, config.tau)
        terms = {
            "image": F.binary_cross_entropy_with_logits(alignment.image, batch.labels.float()),
            "maps": config.weight_maps * self._segmentation(alignment.patches, batch),
            **self._centres(alignment, batch),
            "divergence": sample.divergence(),
        }
        if config.weight_reconstruction > 0:
            pairs = config.reconstruction == "pairs"
            error = reconstruction_error(image, sample.decoded, pairs=pairs)
            terms["reconstruction"] = config.weight_reconstruction * error
        return terms

    def _segmentation(self, patches: Tensor, batch: Batch) -> Tensor:
        grid = patches.sigmoid().reshape(-1, *self.backbone.vision.grid_hw)
        gamma, upsampling = self.config.focal_gamma, self.config.upsampling
        return grid_segmentation_loss(grid, batch.masks, batch.has_mask, gamma, upsampling)

    def _centres(self, alignment: Alignment, batch: Batch) -> dict[str, Tensor]:
        """Return how far patches of each kind are from their prototypes, on average.

        A patch is anomalous where any of its pixels is.
        """
        masks = F.max_pool2d(batch.masks[:, None], self.backbone.vision.patch_px).flatten(1)
        known, anomalous = batch.has_mask[:, None], masks > 0
        return {
            "gather": _mean_where(alignment.from_normal, known & ~anomalous),
            "scatter": _mean_where(alignment.from_anomalous, known & anomalous),
        }

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all that is learned, the deep tokens that both prompts share once."""
        parts = nn.ModuleList([self.normal, self.abnormal, self.prototypes, self.classes])
        return {"prompts": list(parts.parameters())}

    def bake(self) -> nn.Module:
        """Return the inference graph, its text constant as far as no image reaches it."""
        return BakedCops(self)


class BakedCops(nn.Module):
    """What remains of CoPS at inference: the vision tower, prototypes, and their way into text."""

    @torch.no_grad()
    def __init__(self, method: Cops) -> None:
        """Decode the samples and encode the constant text once; nothing is shared with `method`."""
        super().__init__()
        self.config = method.config
        self.reading = method.reading
        self.vision = copy.deepcopy(method.backbone.vision)
        self.smooth = copy.deepcopy(method.smooth)
        self.prototypes = method.prototypes.bake()
        learners, samples = (method.normal, method.abnormal), method.classes.prior()
        text, shifted = method.backbone.text, method.config.prototypes
        self.prompts = SampledPrompts(learners, text, samples, shifted)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Prediction:
        """Score images (B, 3, H, W) float, normalised; equals `Cops.forward`."""
        config, grid_hw = self.config, self.vision.grid_hw
        features = self.reading(self.vision, images)
        patches = average_neighbours(features.patches[0], grid_hw, config.window)
        prototypes = self.prototypes(patches)
        states = prototypes[::-1] if config.swap_prototypes else prototypes
        text = mean_direction(self.prompts(torch.stack(states, dim=1)))
        alignment = align(features.image, patches, prototypes, text, config.tau)
        found = alignment.weigh(config.distance_share, config.image_share)
        grid = found.abnormal.reshape(-1, *grid_hw)
        return Prediction(found.score, self.smooth(grid).clamp(0, 1), found.score_logit)


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    # Without a graph where nothing is chosen: the optimiser then leaves the prototypes alone.
    return values[chosen].mean() if chosen.any() else values.new_zeros(())


def _check_fits(backbone: Backbone, config: CopsConfig) -> None:
    longest = backbone.text.context_length - 4  # start, full stop, end, and one that stays free
    if config.prompt_length > longest:
        raise InputError(
            f"cops: prompt_length {config.prompt_length} does not fit the text tower: use at most "
            f"{longest}"
        )
    width, joint = backbone.text.width, backbone.text.embed_dim
    if width != joint:
        raise InputError(
            f"cops adds what it sees to its words: it needs a CLIP whose text is as wide as its "
            f"features, {backbone.info.name} has {width} and {joint}: use ViT-L-14-336-quickgelu"
        )
