"""Where the authors' own code keeps what it learned: one table row per method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Slot(NamedTuple):
    """Where a file keeps a tensor.

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
    """

    slots: Mapping[str, Slot]
    lengths: Mapping[str, tuple[str, int]]

    def keys(self, deep_sets: int) -> dict[str, int]:
        """Return the keys that are read, and the dimensions of each."""
        return {key: slot.dims for slot in self.slots.values() for key in slot.keys(deep_sets)}


_SLOTS = {"normal.context": Slot("ctx_pos", 4), "normal.deep": Slot("compound_prompts_text.*", 2)}
_LENGTHS = {"context_length": ("ctx_pos", 2), "deep_length": ("compound_prompts_text.0", 0)}

LAYOUTS = {
    "anomalyclip": Layout({**_SLOTS, "abnormal.context": Slot("ctx_neg", 4)}, _LENGTHS),
    "faprompt": Layout(
        {
            **_SLOTS,
            "abnormal.own": Slot("ctx_neg", 4),
            "prior.network.0.weight": Slot("patch_meta_net.linear1.weight", 2),
            "prior.network.0.bias": Slot("patch_meta_net.linear1.bias", 1),
            "prior.network.2.weight": Slot("patch_meta_net.linear2.weight", 2),
            "prior.network.2.bias": Slot("patch_meta_net.linear2.bias", 1),
        },
        # The code has had 1 token of its own per abnormal prompt, and now has 2.
        {**_LENGTHS, "abnormal_prompts": ("ctx_neg", 1), "own_length": ("ctx_neg", 2)},
    ),
}
"""Method to what its authors' code writes."""
