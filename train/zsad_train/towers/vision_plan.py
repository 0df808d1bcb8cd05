"""One pass through the vision tower: what is read, added and rewritten after which block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from zsad.errors import InputError
from zsad_train.towers.attention import EntropyHeads, block_index

Injection = Callable[[Tensor], Tensor]
"""Rewrites the patch tokens (B, P, width) between two blocks."""


@dataclass(frozen=True)
class Plan:
    """One forward pass with every index resolved to 0-based."""

    taps: tuple[int, ...]
    vv_from: int | None
    injections: Mapping[int, Injection]
    last_is_cls_only: bool
    entropies: tuple[int, ...]
    entropy_heads: EntropyHeads

    def runs_vv(self, index: int) -> bool:
        """Whether block `index` adds to a V-V stream that some tap still reads."""
        return self.vv_from is not None and self.vv_from <= index <= max(self.taps, default=-1)

    @classmethod
    def resolve(
        cls,
        depth: int,
        pools_patches: bool,
        taps: Sequence[int],
        vv_from_block: int | None,
        injections: Mapping[int, Injection],
        entropy_blocks: Sequence[int],
        entropy_heads: EntropyHeads,
    ) -> Plan:
        """Resolve what `VisionTower.forward` was asked for.

        Args:
            depth: Number of blocks.
            pools_patches: Whether the image feature is made of the patches.
            taps: As of `forward`, like all that follows.
            vv_from_block: See there.
            injections: See there.
            entropy_blocks: See there.
            entropy_heads: See there.

        Raises:
            InputError: A block does not exist, two injections come after one block, or one comes
                after the last block whose result nothing would read.
        """
        resolved = tuple(block_index(tap, depth) for tap in taps)
        after = {block_index(i, depth): injection for i, injection in injections.items()}
        if len(after) < len(injections):
            raise InputError(f"two injections name the same block: {sorted(injections)}")
        last = depth - 1
        unread = not pools_patches and (vv_from_block is not None or last not in resolved)
        if unread and last in after:
            raise InputError(
                f"nothing reads an injection after the last block ({last}) here: inject earlier, "
                "or tap the last block without a V-V stream"
            )
        vv_from = None if vv_from_block is None else block_index(vv_from_block, depth)
        entropies = tuple(block_index(index, depth) for index in entropy_blocks)
        return cls(resolved, vv_from, after, unread, entropies, entropy_heads)
