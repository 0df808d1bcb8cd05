"""Where the authors' own code keeps what it learned: one table row per method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Slot(NamedTuple):
    """Where a file keeps a tensor.

    Slots of one key share it: our tensors, in the order of the table, lie behind one another along
    the last dimension but one.

    Attributes:
        key: Its key; with `*` there is one per row, numbered from 0.
        dims: Dimensions it has there; those beyond ours lead and have size 1.
    """

    key: str
    dims: int

    def keys(self, rows: int) -> list[str]:
        """Return the keys of a tensor of `rows` rows."""
        if "*" not in self.key:
            return [self.key]
        return [self.key.replace("*", str(row)) for row in range(rows)]


@dataclass(frozen=True)
class Layout:
    """What one method's files hold.

    Attributes:
        slots: Name of each trained tensor of ours to where the file keeps it.
        lengths: Option to the key and the dimension whose size it is.
        training_only: How the names of those begin that only training needs and no file keeps.
        dead: How the keys begin that are nothing to us, beside those of the whole family.
    """

    slots: Mapping[str, Slot]
    lengths: Mapping[str, tuple[str, int]]
    training_only: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()

    def keys(self, deep_sets: int) -> dict[str, int]:
        """Return the keys that are read, and the dimensions of each."""
        return {key: slot.dims for slot in self.slots.values() for key in slot.keys(deep_sets)}

    def neighbours(self, name: str) -> list[str]:
        """Return the trained tensors that share the key of `name`, itself among them."""
        return [other for other, slot in self.slots.items() if slot.key == self.slots[name].key]


_SLOTS = {"normal.context": Slot("ctx_pos", 4), "normal.deep": Slot("compound_prompts_text.*", 2)}
_LENGTHS = {"context_length": ("ctx_pos", 2), "deep_length": ("compound_prompts_text.0", 0)}


def _modules(prefixes: Mapping[str, tuple[str, int]]) -> dict[str, Slot]:
    """Return the slots of modules, ours to theirs and the dimensions of the weight."""
    return {
        f"{ours}.{part}": Slot(f"{theirs}.{part}", dims)
        for ours, (theirs, weight_dims) in prefixes.items()
        for part, dims in (("weight", weight_dims), ("bias", 1))
    }


LAYOUTS = {
    "anomalyclip": Layout({**_SLOTS, "abnormal.context": Slot("ctx_neg", 4)}, _LENGTHS),
    "faprompt": Layout(
        {
            **_SLOTS,
            "abnormal.own": Slot("ctx_neg", 4),
            **_modules(
                {
                    "prior.network.0": ("patch_meta_net.linear1", 2),
                    "prior.network.2": ("patch_meta_net.linear2", 2),
                }
            ),
        },
        # The code has had 1 token of its own per abnormal prompt, and now has 2.
        {**_LENGTHS, "abnormal_prompts": ("ctx_neg", 1), "own_length": ("ctx_neg", 2)},
    ),
    "cops": Layout(
        {
            **_SLOTS,
            "normal.own": Slot("ctx_pos", 4),
            "abnormal.context": Slot("ctx_neg", 4),
            "abnormal.own": Slot("ctx_neg", 4),
            "prototypes.normal": Slot("t_n", 2),
            "prototypes.anomalous": Slot("t_a", 2),
            "prototypes.attention.in_proj_weight": Slot("extractor.attn.in_proj_weight", 2),
            "prototypes.attention.in_proj_bias": Slot("extractor.attn.in_proj_bias", 1),
            **_modules(
                {
                    "prototypes.attention.out_proj": ("extractor.attn.out_proj", 2),
                    "prototypes.norm": ("extractor.ln_1", 1),
                    "prototypes.mlp_norm": ("extractor.ln_2", 1),
                    "prototypes.mlp.0": ("extractor.mlp.c_fc", 2),
                    "prototypes.mlp.2": ("extractor.mlp.c_proj", 2),
                    "classes.decoder.0": ("vae_decoder.net.0", 2),
                    "classes.decoder.2": ("vae_decoder.net.2", 2),
                }
            ),
        },
        {
            "prompt_length": ("ctx_pos", 2),
            "prototypes": ("t_n", 0),
            "deep_length": ("compound_prompts_text.0", 0),
        },
        training_only=("classes.hidden.", "classes.mean.", "classes.log_variance."),
        dead=("vae_encoder.", "projector.", "projector_cls.", "extractor_."),
    ),
}
"""Method to what its authors' code writes."""
