"""Every number of DAPO (arXiv 2512.09446).

Only the paper's abstract was at hand, so nearly every value is the authors' released code's, which
is marked [code]; where we do otherwise, the field says how, and the presets at the end are one
each. The optimiser's numbers (Adam, 1e-3, betas 0.5 and 0.999, batches of 8) are the defaults of
`zsad_train.config`, but for the epochs, 5, and the seed, 42 [code].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zsad.errors import InputError
from zsad_train.methods.options import (
    check_choice,
    check_not_negative,
    check_positive,
    quarter_ends,
)
from zsad_train.smoothing import Upsampling
from zsad_train.towers import block_index

ReadAt = Literal["end", "early"]


@dataclass(frozen=True)
class DapoConfig:
    """Options of DAPO; block indices are 0-based, negative from the end."""

    # Hybrid prompts: learned tokens before fixed words.

    prompts: int = 10
    """E, prompts of every state, averaged before normalisation [code]."""

    context_length: int = 5
    """Learned tokens of each prompt. One set of E for the normal state, one for all defect types
    alike, which is what lets a new word be asked for at test time [code]."""

    normal_words: str = "flawless object"
    """End of a normal prompt [code]; the architecture's figure prints "normal object"."""

    abnormal_words: str = "{} anomaly object"
    """End of a prompt about the defect type `{}` [code]."""

    # Progressive tuning: tokens inserted into every block.

    text_tokens: int = 4
    """Learned tokens behind the start token in every text block [code]."""

    vision_tokens: int = 4
    """Learned tokens beside the patches in every vision block [code]."""

    carried: float = 0.01
    """Share of what left the block before in the tokens that enter the next; the rest is the
    block's own set. This is the tuning that is progressive: there are no stages [code]."""

    text_causal: bool = True
    """Whether text tokens see only what comes before them, as CLIP was trained. The code drops the
    mask where the prompts are learned, and its padding takes part."""

    read_at: ReadAt = "end"
    """Where a prompt's feature is read. `end` is the end-of-text token. The code counts without the
    inserted tokens and so reads as many places `early`: before a type of one word, its last
    learned token."""

    # Where patches are compared.

    taps: tuple[int, ...] | None = None
    """Blocks after which patches are read, as they leave them, through a linear layer each. None is
    the end of each quarter: 5, 11, 17 and 23 of ViT-L's 24 [code]."""

    tau: float = 0.07
    """Temperature of every softmax [code]; CLIP's own logit scale is not used."""

    upsampling: Upsampling = "aligned"
    """How probabilities are resized to the image, in training and test [code]."""

    sigma: float = 0.0
    """Gaussian of the map as a share of the shorter image side; the code has none."""

    # Training: one stage.

    focal_gamma: float = 2.0
    """Focusing exponent of the focal term over normal and all types [code]."""

    weight_local: float = 4.0
    """Weight of the sum over taps of focal and both dice terms [code]."""

    weight_image: float = 1.0
    """Weight of the cross-entropy of the image token against normal and the mean type [code]."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        counts = ("prompts", "context_length", "text_tokens", "vision_tokens")
        check_positive("dapo", self, (*counts, "tau"))
        check_not_negative(
            "dapo", self, ("focal_gamma", "weight_local", "weight_image", "sigma", "carried")
        )
        check_choice("dapo", self, "read_at", get_args(ReadAt))
        check_choice("dapo", self, "upsampling", get_args(Upsampling))
        if self.carried > 1:
            raise InputError(f"dapo: carried {self.carried} is a share: use 0 to 1")
        if self.abnormal_words.count("{}") != 1:
            raise InputError(
                f"dapo: abnormal_words '{self.abnormal_words}' must have one {{}} for the type"
            )
        if self.taps == ():
            raise InputError("dapo: taps is empty: name at least one block")

    def taps_for(self, depth: int) -> tuple[int, ...]:
        """Return the taps, 0-based, of a vision tower of `depth` blocks.

        Raises:
            InputError: A block does not exist, or is tapped twice.
        """
        taps = quarter_ends(depth) if self.taps is None else self.taps
        resolved = tuple(block_index(tap, depth) for tap in taps)
        if len(set(resolved)) != len(resolved):
            raise InputError(f"dapo: taps {taps} repeats a block")
        return resolved


PRESETS = {
    "dapo": DapoConfig(),
    "dapo-released": DapoConfig(text_causal=False, read_at="early"),
}
"""`dapo` reads text as CLIP does: with its mask, at its end token. `dapo-released` is the authors'
code as of its only publication, whose maps are the sum over taps, four times ours."""
