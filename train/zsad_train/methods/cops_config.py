"""Every number of CoPS (CVPR 2026 Findings, arXiv 2508.03447).

Only the paper's abstract is at hand, so each value is that of the authors' released code [code],
whose two shipped models are trained on VisA, and on MVTec AD to be tested on VisA; where the code
does other than the abstract says, the field says how, and the presets at the end are one each. [?]
marks what neither gave us. Of the optimiser's numbers Adam, 1e-3, betas 0.5 and 0.999 and batches
of 8 are the defaults of `zsad_train.config`; the code's seed is 0, its epochs are 10 on VisA and 5
on MVTec AD, with no schedule and no augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from zsad.errors import InputError
from zsad_train.methods.options import (
    check_choice,
    check_not_negative,
    check_positive,
    prompting_depth,
)
from zsad_train.smoothing import Upsampling
from zsad_train.towers import Reading, block_index

Reconstruction = Literal["image", "pairs"]


@dataclass(frozen=True)
class CopsConfig:
    """Options of CoPS; block indices are 0-based, negative from the end."""

    # The prompts: context, then state, then class tokens, and a full stop.

    prompt_length: int = 14
    """Learned tokens of each of the two prompts: 6 of context, 6 of state, 2 of class [code]."""

    prototypes: int = 6
    """M, prototypes of each state, and as many state tokens [code]."""

    class_tokens: int = 2
    """Class tokens. All get the same sample, each on top of a learned token [code]."""

    text_depth: int | None = None
    """Text blocks that get learned tokens, the first one's being the prompts' own. None is three
    quarters of the tower's blocks: 9 of 12, so 8 deep sets [code], at any depth."""

    deep_length: int = 4
    """Learned tokens of each deeper block, the same for both prompts. They overwrite the first
    ones that came out of the block before [code]."""

    deep_half: bool = False
    """Round the deep tokens to half precision, as the released code does."""

    # The vision tower.

    vv_from_block: int = 0
    """First block of the V-V stream, which is read after the last block. 0 is all 24 of 24
    [code], "DPAM layer 24" counted from the end."""

    cls_ln_post: bool = False
    """Apply CLIP's last LayerNorm to the image token [code]."""

    train_window: int = 5
    """Side of the window that every patch is averaged over in training, borders padded with zeros
    that count. The code has 3 where it trains on MVTec AD, else 5."""

    window: int = 5
    """The same at inference, where the code has 3 if it tests on VisA, else 5. What is tested on
    should choose nothing, so that one value holds for all."""

    # Explicit state tokens, ESTS: prototypes of the image's patches.

    prototype_heads: int = 12
    """Attention heads of the extractor [code]. Where the width is no multiple, the next smaller
    number that divides it: 8 of `tiny`'s 128."""

    swap_prototypes: bool = False
    """Add the anomalous prototypes to the normal prompt and the normal ones to the abnormal. The
    code does, in training and test alike; the abstract has each state's own. Weights made with one
    do not fit the other."""

    # Implicit class tokens, ICTS: samples of a variational autoencoder.

    samples: int = 10
    """R, class samples whose embeddings are averaged at inference, drawn from the prior [code]."""

    latent_seed: int = 0
    """Seeds the R latents, which are the same for every image, so that an artifact is constant. The
    code draws them anew for each."""

    reconstruction: Reconstruction = "image"
    """What the decoded sample is held against. `image` is its own image's feature, squared error
    summed over dimensions as the divergence is, the mean over images [?]. The code's sum is over an
    axis of 1 that broadcasting made: `pairs` is what it computes, the mean over dimensions and over
    all pairs of an image and a sample of the batch."""

    # Losses.

    weight_maps: float = 4.0
    """Weight of focal and both dice terms of the map, beside 1 on all other terms [code]."""

    weight_reconstruction: float = 1.0
    """Weight of the reconstruction [code]. The code leaves it out where it trains on VisA."""

    tau: float = 0.07
    """Temperature of every softmax [code]; CLIP's own logit scale is not used."""

    focal_gamma: float = 2.0
    """Focusing exponent of the focal term [code]."""

    upsampling: Upsampling = "nearest"
    """How patches become pixels, in the loss and in the map [code]."""

    # Spatially-aware glocal alignment, SAGA: inference.

    distance_share: float = 0.26
    """alpha, share of the distance from the normal prototypes, beside that of the nearness to the
    anomalous ones, in the weight of a patch. The code has 0.35 where it tests on VisA."""

    image_share: float = 0.9
    """beta, share of the image feature in the score, beside that of the highest patch. The code has
    1 where it tests on VisA."""

    sigma: float = 4 / 518
    """Gaussian of the map as a share of the shorter image side, so that a small model is not
    blurred more. 4 px at 518 px [code]."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        counts = ("prototypes", "class_tokens", "prototype_heads", "samples", "deep_length")
        check_positive("cops", self, (*counts, "tau"))
        weights = ("weight_maps", "weight_reconstruction")
        check_not_negative("cops", self, ("latent_seed", *weights, "focal_gamma", "sigma"))
        check_choice("cops", self, "reconstruction", get_args(Reconstruction))
        check_choice("cops", self, "upsampling", get_args(Upsampling))
        self._check_lengths()
        for name in ("distance_share", "image_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"cops: {name} {getattr(self, name)} is not in 0..1, a share")
        for name in ("train_window", "window"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise InputError(f"cops: {name} {getattr(self, name)} is no odd side: use 3 or 5")

    def _check_lengths(self) -> None:
        if self.context_length < 1:
            raise InputError(
                f"cops: prompt_length {self.prompt_length} leaves no context before its "
                f"{self.state_length} tokens of state and class: use more"
            )
        if self.deep_length > self.context_length:
            raise InputError(
                f"cops: deep_length {self.deep_length} is not in 1..{self.context_length}, the "
                "context's tokens"
            )

    @property
    def state_length(self) -> int:
        """Learned tokens of state and class, to which something of an image is added."""
        return self.prototypes + self.class_tokens

    @property
    def context_length(self) -> int:
        """Learned tokens before them."""
        return self.prompt_length - self.state_length

    def depth_for(self, blocks: int) -> int:
        """Return how many of a text tower's `blocks` get learned tokens.

        Raises:
            InputError: `text_depth` was given and is not in 1..blocks.
        """
        return prompting_depth("cops", self.text_depth, blocks)

    def reading_for(self, depth: int) -> Reading:
        """Return what is read of a vision tower of `depth` blocks.

        Raises:
            InputError: The block does not exist.
        """
        return Reading((-1,), block_index(self.vv_from_block, depth), self.cls_ln_post)

    def heads_for(self, width: int) -> int:
        """Return the attention heads of the extractor for prototypes of `width`."""
        return max(n for n in range(1, self.prototype_heads + 1) if width % n == 0)


_RELEASED = CopsConfig(
    deep_half=True,
    swap_prototypes=True,
    reconstruction="pairs",
    weight_reconstruction=0.0,
)

PRESETS = {
    "cops": CopsConfig(),
    "cops-released": _RELEASED,
    "cops-released-mvtec": replace(
        _RELEASED,
        weight_reconstruction=1.0,
        train_window=3,
        window=3,
        distance_share=0.35,
        image_share=1.0,
    ),
}
"""`cops` does what the abstract says with the code's numbers; `cops-released` is the authors' code
as it trains on VisA and tests on all else, `cops-released-mvtec` as it trains on MVTec AD and tests
on VisA. Scores and maps are on that code's scale."""
