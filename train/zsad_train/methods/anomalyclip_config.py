"""Every number of AnomalyCLIP (ICLR 2024, arXiv 2310.18961).

[code] marks what was taken from the authors' released code because the paper does not say it, or
says otherwise; where the two differ, the field says how. [?] marks what neither gave us. The
optimiser's numbers (Adam, 1e-3, betas 0.5 and 0.999, 15 epochs of batches of 8) are the defaults of
`zsad_train.config`.
"""

from __future__ import annotations

from dataclasses import dataclass

from zsad.errors import InputError
from zsad_train.methods.options import (
    check_not_negative,
    check_positive,
    prompting_depth,
    quarter_ends,
)
from zsad_train.towers import Reading, block_index


@dataclass(frozen=True)
class AnomalyClipConfig:
    """Options of AnomalyCLIP; block indices are 0-based, negative from the end."""

    # Section 3.2: object-agnostic prompts.

    context_length: int = 12
    """E, learned tokens of each of the two templates (section 4.1)."""

    normal_words: str = "object"
    """End of the normal template, g_n = [V1]...[VE][object]."""

    abnormal_words: str = "damaged object"
    """End of the abnormal template, g_a = [W1]...[WE][damaged][object]."""

    # Section 3.3: refinement of the textual space.

    text_depth: int | None = None
    """Text blocks that get learned tokens, the first one's being the templates' own. None is three
    quarters of the tower's blocks: the 9 of 12 of section 4.1, so 8 deep sets, at any depth."""

    deep_length: int = 4
    """Learned tokens of each deeper block, the same ones for both templates (section 4.1). They
    overwrite the first ones that came out of the block before [code]."""

    deep_half: bool = False
    """Round the deep tokens to half precision, as the released code does, which changes the result
    by about 1e-5."""

    # Section 3.3: refinement of the local visual space, DPAM.

    vv_from_block: int | None = None
    """First block of the V-V stream. None is the last of the tower's first quarter: 5 of ViT-L's 24
    blocks, which is "DPAM layer 20" counted from the end [code]; 1 of `tiny`'s 8."""

    taps: tuple[int, ...] | None = None
    """Blocks after which patches are compared, M of them. None is the end of each quarter: 5, 11,
    17 and 23 of 24 (the paper's 6, 12, 18 and 24). The released code now reads the last only: what
    it published with four were four times the last, by a fault of aliasing."""

    cls_ln_post: bool = False
    """Apply CLIP's last LayerNorm to the image token. False is [code]; its authors tried both and
    saw no difference."""

    # Section 3.3, glocal context optimisation, and section 4.1.

    tau: float = 0.07
    """Temperature of every softmax [code]; CLIP's own logit scale is not used."""

    focal_gamma: float = 2.0
    """Focusing exponent of the focal term [code]."""

    weight_local: float = 1.0
    """lambda: weight of the sum over taps of focal and both dice terms, beside the cross-entropy of
    the image score. [?] 1: four taps then weigh what the released code's one tap does with 4."""

    sigma: float = 4 / 518
    """Gaussian of the map as a share of the shorter image side, so that a small model is not
    blurred more. 4 px at 518 px [code]."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        check_positive("anomalyclip", self, ("context_length", "deep_length", "tau"))
        check_not_negative("anomalyclip", self, ("focal_gamma", "weight_local", "sigma"))
        if self.deep_length > self.context_length:
            raise InputError(
                f"anomalyclip: deep_length {self.deep_length} is not in 1..{self.context_length}, "
                "the context_length"
            )
        if self.taps == ():
            raise InputError("anomalyclip: taps is empty: name at least one block")

    def depth_for(self, blocks: int) -> int:
        """Return how many of a text tower's `blocks` get learned tokens.

        Raises:
            InputError: `text_depth` was given and is not in 1..blocks.
        """
        return prompting_depth("anomalyclip", self.text_depth, blocks)

    def reading_for(self, depth: int) -> Reading:
        """Return what is read of a vision tower of `depth` blocks.

        Raises:
            InputError: A block does not exist, or is tapped twice.
        """
        quarters = quarter_ends(depth)
        taps = quarters if self.taps is None else self.taps
        if len({block_index(tap, depth) for tap in taps}) != len(taps):
            raise InputError(f"anomalyclip: taps {taps} repeats a block")
        vv_from = quarters[0] if self.vv_from_block is None else self.vv_from_block
        return Reading(taps, block_index(vv_from, depth), self.cls_ln_post)


PRESETS = {
    "anomalyclip": AnomalyClipConfig(),
    "anomalyclip-released": AnomalyClipConfig(taps=(-1,), weight_local=4.0, deep_half=True),
}
"""`anomalyclip` follows the paper, with its taps told apart; `anomalyclip-released` is the authors'
code as of May 2025, whose maps with one tap are on the same scale."""
