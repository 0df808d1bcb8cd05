"""Every number of MRAD (ICLR 2026, arXiv 2602.00522).

The paper's text was not at hand: [code] marks what was taken from the authors' released code, and
that is nearly all. [?] marks what neither gave us. The optimiser's numbers that differ from the
defaults of `zsad_train.config` are in `zsad_train.methods.TRAINING`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from zsad.errors import InputError
from zsad_train.methods.options import (
    check_choice,
    check_not_negative,
    check_positive,
    check_share,
    prompting_depth,
)
from zsad_train.towers import Reading, block_index

Maps = Literal["text", "retrieval"]


@dataclass(frozen=True)
class MradConfig:
    """Options of MRAD; block indices are 0-based, negative from the end."""

    method: ClassVar[str] = "mrad"

    maps: Maps = "text"
    """`text` reads the map off prompts that retrieval adapts (MRAD-CLIP), `retrieval` off the
    retrieval itself (MRAD-FT), which needs no text at all."""

    # The vision tower.

    vv_from_block: int = 1
    """First block of the V-V stream, which is read after the last. The code asks for "DPAM layer
    24" of 24, and its loop leaves out the first block, at index 0 [code]."""

    cls_ln_post: bool = False
    """Apply CLIP's last LayerNorm to the image token [code]."""

    retrieval_ln_post: bool = True
    """Apply CLIP's last LayerNorm to the patches that are retrieved with. [?] The code takes them
    before the projection; with the LayerNorm they are what the projection projects, and no few
    large channels decide every cosine."""

    # Retrieval.

    memory_limit: int = 16_384
    """Keys that a memory may hold, at most two per training image; the graph carries them. At
    ViT-L's width that is 67 MB in float32. [?] VisA gives 2162 and 3093."""

    hidden_patches: float = 0.8
    """In training, the quantile of a patch's similarities above which keys are hidden from it
    [code], where the authors note 0.85 for training on MVTec."""

    hidden_images: float = 0.95
    """The same for the image feature [code]."""

    # The prompts, AnomalyCLIP's.

    context_length: int = 12
    """Learned tokens of each of the two prompts; what retrieval found shifts them all [code]."""

    normal_words: str = "object"
    """End of the normal prompt [code]."""

    abnormal_words: str = "damaged object"
    """End of the abnormal prompt [code]."""

    text_depth: int | None = None
    """Text blocks that get learned tokens, the first one's being the prompts' own. None is three
    quarters of the tower's blocks: the 9 of 12 [code], at any depth."""

    deep_length: int = 4
    """Learned tokens of each deeper block, the same for both prompts, which overwrite the first
    ones that came out of the block before [code]."""

    deep_half: bool = False
    """Round the deep tokens to half precision, as the released code does."""

    # Training.

    retrieval_epochs: int = 1
    """Epochs that learn the retrieval; all after them learn the prompts, with the retrieval as it
    is [code]."""

    tau: float = 0.07
    """Temperature of the cosines' softmax, and divisor of the two retrieved shares before the
    cross-entropy of the image takes them for logits [code]."""

    focal_gamma: float = 2.0
    """Focusing exponent of the focal term [code]."""

    # Inference.

    region_threshold: float = 0.5
    """Retrieved probability above which a patch is of the abnormal region, whose mean feature
    shifts the abnormal prompt, and else of the normal one's [code]."""

    weight_image: float = 0.7
    """k: share of the image's retrieval in the score, beside the highest pixels' [code]."""

    top_share: float = 0.01
    """Share of the map's pixels whose mean counts as the highest [code]."""

    sigma: float = 4 / 518
    """Gaussian of the map as a share of the shorter image side, so that a small model is not
    blurred more. 4 px at 518 px [code]."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        check_choice(self.method, self, "maps", get_args(Maps))
        counts = ("memory_limit", "context_length", "deep_length")
        check_positive(self.method, self, (*counts, "tau", "top_share"))
        check_not_negative(self.method, self, ("retrieval_epochs", "focal_gamma", "sigma"))
        shares = ("hidden_patches", "hidden_images", "region_threshold", "weight_image")
        check_share(self.method, self, (*shares, "top_share"))
        if self.deep_length > self.context_length:
            raise InputError(
                f"{self.method}: deep_length {self.deep_length} is not in 1.."
                f"{self.context_length}, the context_length"
            )

    @property
    def map_weights(self) -> tuple[float, ...]:
        """Share of the map of each branch of prompts; MRAD has one."""
        return (1.0,)

    def depth_for(self, blocks: int) -> int:
        """Return how many of a text tower's `blocks` get learned tokens.

        Raises:
            InputError: `text_depth` was given and is not in 1..blocks.
        """
        return prompting_depth(self.method, self.text_depth, blocks)

    def reading_for(self, depth: int) -> Reading:
        """Return what is read of a vision tower of `depth` blocks.

        Raises:
            InputError: The block does not exist.
        """
        return Reading(
            taps=(-1,),
            vv_from_block=block_index(self.vv_from_block, depth),
            cls_ln_post=self.cls_ln_post,
            tokens_as="ln_post" if self.retrieval_ln_post else "raw",
        )

    def top_pixels(self, image_hw: tuple[int, int]) -> int:
        """Return how many pixels of an image (H, W) count as the highest."""
        return max(1, int(self.top_share * image_hw[0] * image_hw[1]))


PRESETS = {
    "mrad": MradConfig(),
    "mrad-ft": MradConfig(maps="retrieval"),
    "mrad-released": MradConfig(deep_half=True),
}
"""`mrad` is MRAD-CLIP, `mrad-ft` MRAD-FT, and `mrad-released` MRAD-CLIP as in the authors' code of
February 2026."""
