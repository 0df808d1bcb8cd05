"""CLIP as it is (arXiv 2103.00020), the reference that every method here is compared with.

Nothing is learned: an image is held against a sentence about a normal thing and one about an
anomalous thing, and so is every patch of the last block. CLIP was never trained to align its
patches with text, so its map is known to be poor: it shows what the other methods add.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zsad_train.descriptions import encode_pair
from zsad_train.methods.base import TrainingWords
from zsad_train.methods.options import check_not_negative, check_positive
from zsad_train.methods.pair import PairMethod
from zsad_train.towers import Backbone, Reading

NORMAL = "a photo of a normal {}."
ABNORMAL = "a photo of an anomalous {}."
"""The pair that AnomalyCLIP's comparison gives CLIP, with the name of the thing in it."""


@dataclass(frozen=True)
class ClipConfig:
    """Options of plain CLIP; none changes the order of the image scores."""

    tau: float = 0.07
    """Temperature of the softmax. The other methods', so that scores and maps are on one scale;
    CLIP's own is 0.01."""

    sigma: float = 4 / 518
    """Gaussian of the map as a share of the shorter image side: the other methods'."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        check_positive("clip", self, ("tau",))
        check_not_negative("clip", self, ("sigma",))


PRESETS = {"clip": ClipConfig()}


class Clip(PairMethod):
    """Plain CLIP; several sentences about one state are averaged, each at length 1."""

    name = "clip"
    config_type = ClipConfig
    presets = PRESETS
    text: Tensor

    def __init__(self, backbone: Backbone, config: ClipConfig, words: TrainingWords) -> None:
        """Encode `words.normal` and `words.abnormal`.

        Raises:
            InputError: A sentence does not fit the text tower's context.
        """
        reading = Reading(taps=(-1,), vv_from_block=None, cls_ln_post=True)
        super().__init__(backbone, config, words, reading)
        text = encode_pair(backbone, words.normal, words.abnormal)
        self.register_buffer("text", text, persistent=False)  # (2, D)

    @classmethod
    def words_for(cls, thing: str) -> TrainingWords:
        """Return the sentences about `thing`, a part's name or just "object"."""
        return TrainingWords((), abnormal=(ABNORMAL.format(thing),), normal=(NORMAL.format(thing),))

    def state_text(self) -> Tensor:
        """Return the two sentences' embeddings (2, D)."""
        return self.text
