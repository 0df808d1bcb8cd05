"""Every number of this project's reading of EntroAD (arXiv 2605.28630).

The paper's text was not at hand and its authors published no code: this is a reading of the
abstract and of a third party's sketch, never the paper's method, and its figures are not the
paper's. [sketch] marks what the sketch cites the paper for, [ours] what is this project's choice,
with its reason. Retrieval is MRAD's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from zsad_train.methods import READINGS
from zsad_train.methods.mrad_config import MradConfig
from zsad_train.methods.options import check_choice, check_positive, check_share, quarter_ends
from zsad_train.towers import EntropyHeads, Reading, block_index

Sign = Literal["high", "low"]
Routing = Literal["tempered", "power"]
Gate = Literal["slope", "amplify", "open"]
SecondBranch = Literal["words", "twin"]


@dataclass(frozen=True)
class EntroAdConfig(MradConfig):
    """Options of the reading, beside MRAD's; block indices are 0-based, negative from the end."""

    method: ClassVar[str] = "entroad"

    reading_of: str = READINGS["entroad"]
    """The paper that this is a reading of; checkpoints and artifacts carry it among the options."""

    # Structural entropy, Eq. 1-3.

    entropy_blocks: tuple[int, ...] | None = None
    """Blocks whose attention is read, their entropies being averaged. None is the end of each
    quarter: 5, 11, 17 and 23 of 24 [sketch]."""

    entropy_heads: EntropyHeads = "mean"
    """Whether the attention of the heads is averaged, and then its entropy taken, or after it.
    [ours] The sketch has one attention matrix per block."""

    entropy_sign: Sign = "high"
    """Which entropy speaks for an anomaly: `high` is the abstract's relational uncertainty, `low`
    routes by 1 minus it. Measured before it was fixed: on `tiny` and the generated validation
    images the mean over blocks tells defective patches from the others of their image with an
    AUROC of 58.3, high ones being defective (`benchmarks/results/entropy-tiny.json`). That is
    little: two of the four blocks say the opposite. Other backbones need not agree: run
    `benchmarks/entropy.py --backbone`."""

    # Token routing, Eq. 5-6.

    routing: Routing = "tempered"
    """How the retrieved probability p and the entropy e in 0..1 become weights of patches.
    `tempered` is a softmax of p e / T; `power` one of p e^(1/T) [sketch], whose values in 0..1
    cannot set patches apart by more than a factor of 2.7: a plain mean, nearly. [ours]"""

    temperature: float = 0.1
    """T [sketch]."""

    # Confidence gate, Eq. 7.

    gate: Gate = "slope"
    """`slope` is sigmoid((k0 + k1 s) (p_max - tau)), s the spread of e: it closes the anomaly token
    on an image that is surely normal. `amplify` is (k0 + k1 s) sigmoid(p_max - tau) [sketch], which
    closes nothing. `open` is 1. [ours] The paper's ablation says that the gate decides."""

    gate_threshold: float = 0.5
    """tau [sketch]."""

    gate_base: float = 5.0
    """k0 [sketch]."""

    gate_spread: float = 50.0
    """k1 [sketch]."""

    # Two branches of prompts, Eq. 9-12.

    hidden_ratio: float = 0.25
    """Width of the hidden layer that makes shifts over that of both routed tokens together: 384 of
    2 x 768. [ours] Its last layer starts at zero, so that training starts from unshifted prompts:
    the prior that the abstract wants preserved."""

    second_branch: SecondBranch = "words"
    """`words` is a frozen hand-written pair, whose shift the gate scales; `twin` is a second pair
    of learned prompts like the first. [ours] How the paper's branches differ is not known."""

    second_context: str = "a photo of a"
    """Words of the hand-written pair that are shifted."""

    second_normal_words: str = "flawless object"
    """End of its normal sentence."""

    second_abnormal_words: str = "damaged object"
    """End of its abnormal sentence."""

    weight_first: float = 0.7
    """Share of the first branch in the loss, the rest being the second's [sketch]."""

    weight_first_map: float = 0.7
    """Share of the first branch in the map [sketch]."""

    def __post_init__(self) -> None:
        """Refuse values that no backbone could take."""
        super().__post_init__()
        for name, kind in (
            ("entropy_heads", EntropyHeads),
            ("entropy_sign", Sign),
            ("routing", Routing),
            ("gate", Gate),
            ("second_branch", SecondBranch),
        ):
            check_choice(self.method, self, name, get_args(kind))
        check_choice(self.method, self, "maps", ("text",))
        check_choice(self.method, self, "reading_of", (READINGS["entroad"],))
        check_positive(self.method, self, ("temperature", "hidden_ratio"))
        check_share(self.method, self, ("gate_threshold", "weight_first", "weight_first_map"))

    @property
    def map_weights(self) -> tuple[float, ...]:
        """Share of the map of each branch of prompts."""
        return (self.weight_first_map, 1 - self.weight_first_map)

    @property
    def loss_weights(self) -> tuple[float, ...]:
        """Share of the loss of each branch of prompts."""
        return (self.weight_first, 1 - self.weight_first)

    def reading_for(self, depth: int) -> Reading:
        """Return what is read of a vision tower of `depth` blocks.

        Raises:
            InputError: A block does not exist.
        """
        blocks = quarter_ends(depth) if self.entropy_blocks is None else self.entropy_blocks
        return replace(
            super().reading_for(depth),
            entropy_blocks=tuple(block_index(block, depth) for block in blocks),
            entropy_heads=self.entropy_heads,
        )


PRESETS = {
    "entroad": EntroAdConfig(),
    "entroad-sketch": EntroAdConfig(routing="power", gate="amplify"),
}
"""`entroad` is our reading; `entroad-sketch` has routing and gate as the third party's sketch has
them. Neither is the paper's method."""
