"""Every number of DIVE. The text at hand lost its in-line values, so each default says its source.

[?] marks what neither the paper's text nor its figure gives; the reason for the default follows.
The family is AnomalyCLIP, FAPrompt, AF-CLIP and MaPLe, whose code DIVE's authors build upon.
"""

from __future__ import annotations

from dataclasses import dataclass

from zsad.errors import InputError
from zsad_train.methods.options import check_not_negative, check_positive, prompting_depth
from zsad_train.towers import block_index


@dataclass(frozen=True)
class DiveConfig:
    """Options of DIVE; block indices are 0-based, negative from the end."""

    # Section 4.1, Eq. 1-2: text prompts.

    context_length: int = 12
    """m, learned tokens of each context. [?] AnomalyCLIP's; 5.2.3 finds little effect."""

    text_depth: int | None = None
    """P, text blocks that get learned tokens, the first one's being the context. [?] None is three
    quarters of the tower's blocks: the 9 of 12 of AnomalyCLIP and MaPLe, at any depth."""

    deep_length: int | None = None
    """Learned tokens per deeper block. [?] None is m: the paper names no further length."""

    normal_words: str = "object"
    """End of the normal prompt (Fig. 2)."""

    abnormal_words: str = "damaged object"
    """End of the abnormal prompt (Fig. 2)."""

    # Section 4.2: shallow injection.

    visual_prompts: int = 2
    """k, semantic tokens that become visual prompts, at most m. [?] Fig. 2 draws two; 5.2.3 says
    that a small number is enough."""

    # Section 4.2, Eq. 3-4: deep injection.

    ca_after_blocks: tuple[int, ...] = (-5, -4, -3, -2)
    """Blocks whose patches attend to the descriptions. The text says the final four, Fig. 2 draws
    nothing after the last: these are the inputs of the last four blocks."""

    ca_weight: float = 1.0
    """lambda of Eq. 3. [?] 1, since a zero-initialised layer finds its own scale."""

    ca_heads: int = 8
    """Attention heads. [?] AF-CLIP's adaptor."""

    ca_head_width: int | None = None
    """Width of a head. [?] None is such that the heads together are half as wide as the tower:
    AF-CLIP's 8 x 64 beside ViT-L's 1024, at any width."""

    ca_pre_norm: bool = True
    """LayerNorm before the query. [?] AF-CLIP's adaptor."""

    ca_zero_init: bool = True
    """Start the layer as the identity. [?] Training then starts from CLIP as it is."""

    bank_normalised: bool = True
    """Unit-length description embeddings. [?] As CLIP compares text."""

    # Section 4.3, Eq. 5: disentanglement.

    cls_ln_post: bool = True
    """Apply CLIP's last LayerNorm to the image token. [?] CLIP's own way; AnomalyCLIP skips it and
    its authors saw no difference."""

    mlp_ratio: float = 0.5
    """Hidden width of G_state and G_sem over the joint width. [?] 384 of 768."""

    # Section 4.4: losses and inference.

    tau: float = 0.07
    """Temperature of every softmax. [?] The family's."""

    focal_gamma: float = 2.0
    """Focusing exponent. [?] The family's."""

    weight_semantic: float = 1.0
    """Weight of L_sem. [?] A cross-entropy at the same temperature as L_state, hence equal."""

    weight_disentangle: float = 1.0
    """Weight of L_dis, which lies in [0, 1]. [?]"""

    weight_prompt_norm: float = 1.0
    """Weight of L_reg, the mean square of the visual prompts. [?]"""

    sigma: float = 4 / 518
    """Gaussian of the map as a share of the shorter image side, so that a small model is not
    blurred more. [?] The family's 4 px at 518 px."""

    # Not in the paper: the product's two options.

    abnormal_prompts: int = 1
    """Abnormal prompts whose mean is the abnormal state; 1 is the paper. With more, they share the
    normal context and differ in tokens of their own (FAPrompt section 3.3)."""

    compound_length: int = 2
    """Own tokens of each abnormal prompt, where there are several (FAPrompt's code)."""

    weight_orthogonality: float = 0.1
    """Weight of the sum of |cos| over pairs of abnormal prompts (FAPrompt's code)."""

    vv_from_block: int | None = None
    """First block of the V-V stream that the map is then read from (AnomalyCLIP's DPAM: 5 of 24);
    None is the paper. The injections act on the ordinary stream and are seen through v."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        positive = ("context_length", "ca_heads", "ca_head_width", "mlp_ratio", "tau")
        check_positive("dive", self, (*positive, "abnormal_prompts", "compound_length"))
        weights = ("weight_semantic", "weight_disentangle", "weight_prompt_norm")
        check_not_negative("dive", self, ("sigma", *weights))
        lengths = {"visual_prompts": self.visual_prompts, "deep_length": self.deep_tokens}
        for name, length in lengths.items():
            if not 0 < length <= self.context_length:
                raise InputError(
                    f"dive: {name} {length} is not in 1..{self.context_length}, the context_length"
                )

    @property
    def deep_tokens(self) -> int:
        """Tokens in each deep set."""
        return self.context_length if self.deep_length is None else self.deep_length

    def head_width_for(self, width: int) -> int:
        """Return the width of a cross-attention head in a vision tower of width `width`."""
        if self.ca_head_width is None:
            return max(1, width // (2 * self.ca_heads))
        return self.ca_head_width

    def depth_for(self, blocks: int) -> int:
        """Return P for a text tower of `blocks` blocks.

        Raises:
            InputError: P was given and is not in 1..blocks.
        """
        return prompting_depth("dive", self.text_depth, blocks)

    def check_blocks(self, depth: int) -> None:
        """Refuse block indices that a vision tower of `depth` blocks does not have.

        Raises:
            InputError: A block does not exist, or is named twice.
        """
        after = {block_index(block, depth) for block in self.ca_after_blocks}
        if len(after) != len(self.ca_after_blocks):
            raise InputError(f"dive: ca_after_blocks {self.ca_after_blocks} repeats a block")
        if self.vv_from_block is not None:
            block_index(self.vv_from_block, depth)


PRESETS = {"dive": DiveConfig(), "dive-paper": DiveConfig()}
"""`dive-paper` follows the paper; `dive` is the product's default.

They are alike as long as neither option earns its place: on the validation split, three seeds,
`tiny`, compound prompts change the image AUROC by less than the seeds do and cost pixel AUROC, V-V
costs both (benchmarks/results/presets-dive-tiny.json).
"""
