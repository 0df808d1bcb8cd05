"""Every number of FAPrompt (ICCV 2025).

The paper's text at hand lost its in-line values. [code] marks what was taken from the authors'
released code, because the paper does not say it or its value is lost; where the two differ, the
field says how, and the presets at the end are one each. [?] marks what neither gave us. The
optimiser's numbers (Adam, 1e-3, betas 0.5 and 0.999, batches of 8) are the defaults of
`zsad_train.config`, but for the epochs: 7 in the paper (appendix B.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zsad.errors import InputError
from zsad_train.methods.options import (
    check_choice,
    check_not_negative,
    check_positive,
    prompting_depth,
    quarter_ends,
)
from zsad_train.patch_prior import PatchSelection
from zsad_train.towers import Reading, block_index

Dap = Literal["exact", "baked"]


@dataclass(frozen=True)
class FaPromptConfig:
    """Options of FAPrompt; block indices are 0-based, negative from the end."""

    # Section 3.3, Eq. 1: compound abnormality prompting, CAP.

    context_length: int = 5
    """E, learned normal tokens, shared by all prompts (section 4)."""

    own_length: int = 2
    """E', learned abnormal tokens of each abnormal prompt (section 4). The code's history also has
    1, which its files show."""

    abnormal_prompts: int = 10
    """K, fine-grained abnormal prompts (section 4)."""

    normal_words: str = "object"
    """End of the normal prompt, [V1]...[VE][object]."""

    abnormal_words: str = "object"
    """End of an abnormal prompt, [V1]...[VE][A1]...[AE'][object]: the tokens of the normal prompt
    and a few learned ones. The code has "damaged object"."""

    # Appendix B.1: refinement of the textual space, AnomalyCLIP's.

    text_depth: int | None = None
    """Text blocks that get learned tokens, the first one's being the prompts' own. None is three
    quarters of the tower's blocks: the 9 of 12 of appendix B.1, so 8 deep sets, at any depth."""

    deep_length: int = 4
    """Learned tokens of each deeper block, the same for all prompts (appendix B.1). They overwrite
    the first ones that came out of the block before [code]."""

    deep_half: bool = False
    """Round the deep tokens to half precision, as the released code does."""

    # Appendix B.1: the vision tower, AnomalyCLIP's.

    vv_from_block: int | None = None
    """First block of the V-V stream, which is read after the last block. None is the last of the
    tower's first quarter: 5 of ViT-L's 24 blocks, the paper's 6th; 1 of `tiny`'s 8."""

    cls_ln_post: bool = False
    """Apply CLIP's last LayerNorm to the image token. False is [code]; the paper does not say."""

    # Section 3.4, Eq. 3-5: data-dependent abnormality prior, DAP.

    patches: int = 10
    """M, patches that the prior is made of (section 4)."""

    patch_selection: PatchSelection = "topk"
    """`topk` takes the patches most similar to the abnormal prototype (Eq. 3). The code finds them,
    then reads the M first of the raster, in training and test alike: `first`. Weights made with
    one do not fit the other."""

    prior_ratio: int = 16
    """Width of the prior network's input over its hidden one: 7680 and 480 [code]."""

    dap: Dap = "exact"
    """What inference does: `exact` adapts the abnormal prompts to each image, `baked` leaves the
    prior out, which is what Eq. 5 asks of a normal image, and needs no text tower on the device.
    Training is always exact."""

    # Section 3.5, Eq. 6-11: training.

    tau: float = 0.07
    """Temperature of every softmax [code]; CLIP's own logit scale is not used."""

    focal_gamma: float = 2.0
    """Focusing exponent of the focal terms [code]."""

    weight_adapted_maps: float = 1.0
    """Weight of focal and dice on the maps of the adapted prompts (Eq. 7), beside 1 on those of
    the prompts before. The paper applies "the same learning objective" to both; the code has
    0.5."""

    weight_cross_entropy: float = 0.0
    """Weight of a cross-entropy of the image feature against the adapted prompts. Not in the
    paper; 1 in the code. Other versions in its history compute the term and leave it out."""

    score_as_logit: bool = False
    """Hand the image score to its focal loss (Eq. 10) as if it were a logit. The code does, for
    which no score is below a probability of one half."""

    weight_orthogonality: float = 0.1
    """Weight of the sum of |cos| over all pairs of abnormal prompts before DAP (Eq. 2) [code]."""

    weight_prior: float = 1.0
    """Weight of Eq. 5: the mean square of a shift, summed over the batch's normal images [code]."""

    # Section 3.5, Eq. 9 and 12: inference.

    weight_max: float = 1.0
    """Share of the highest patch before DAP in the image score's local half, beside
    `weight_adapted_max`. The paper averages the two; the code has 2 and 1."""

    weight_adapted_max: float = 1.0
    """Share of the highest patch after DAP."""

    sigma: float = 10 / 518
    """Gaussian of the map as a share of the shorter image side, so that a small model is not
    blurred more. 10 px at 518 px [code]; the paper's value is lost. AnomalyCLIP has 4."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        counts = ("context_length", "own_length", "abnormal_prompts", "patches", "prior_ratio")
        check_positive("faprompt", self, (*counts, "deep_length", "tau"))
        terms = ("adapted_maps", "cross_entropy", "orthogonality", "prior", "max", "adapted_max")
        weights = [f"weight_{term}" for term in terms]
        check_not_negative("faprompt", self, ("focal_gamma", *weights, "sigma"))
        check_choice("faprompt", self, "patch_selection", get_args(PatchSelection))
        check_choice("faprompt", self, "dap", get_args(Dap))
        if self.deep_length > self.context_length:
            raise InputError(
                f"faprompt: deep_length {self.deep_length} is not in 1..{self.context_length}, "
                "the context_length"
            )
        if self.weight_max + self.weight_adapted_max == 0:
            raise InputError("faprompt: weight_max and weight_adapted_max are both 0: raise one")

    def depth_for(self, blocks: int) -> int:
        """Return how many of a text tower's `blocks` get learned tokens.

        Raises:
            InputError: `text_depth` was given and is not in 1..blocks.
        """
        return prompting_depth("faprompt", self.text_depth, blocks)

    def reading_for(self, depth: int) -> Reading:
        """Return what is read of a vision tower of `depth` blocks.

        Raises:
            InputError: The block does not exist.
        """
        vv_from = quarter_ends(depth)[0] if self.vv_from_block is None else self.vv_from_block
        return Reading((-1,), block_index(vv_from, depth), self.cls_ln_post)

    def check_patches(self, patches: int) -> None:
        """Refuse a grid of fewer `patches` than the prior reads.

        Raises:
            InputError: There are too few.
        """
        if patches < self.patches:
            raise InputError(
                f"faprompt: an image of {patches} patches has no {self.patches} to choose: use "
                "larger images"
            )

    @property
    def score_weights(self) -> tuple[float, float, float]:
        """Weights of the image, the highest patch before DAP and that after, in the score (Eq. 9).

        The image counts as much as both patches together.
        """
        return self.weight_max + self.weight_adapted_max, self.weight_max, self.weight_adapted_max


PRESETS = {
    "faprompt": FaPromptConfig(),
    "faprompt-released": FaPromptConfig(
        abnormal_words="damaged object",
        deep_half=True,
        patch_selection="first",
        weight_adapted_maps=0.5,
        weight_cross_entropy=1.0,
        score_as_logit=True,
        weight_max=2.0,
    ),
}
"""`faprompt` follows the paper; `faprompt-released` is the authors' code as of July 2025, whose
scores and maps are on the same scale."""
