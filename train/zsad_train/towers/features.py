"""What the vision tower says about images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from torch import Tensor

GROUPS = ("patches", "tokens", "entropies", "windows")
"""What `VisionFeatures` holds beside the image feature, each several tensors."""

TokenNorm = Literal["ln_post", "raw"]
"""How tokens are kept that a tap projects: after the last LayerNorm, or as the block left them."""


@dataclass(frozen=True)
class VisionFeatures:
    """What the tower says about a batch of images.

    Attributes:
        image: (B, D) projected image feature (the CLS token), not normalised.
        patches: Per tap in the order asked for, (B, P, D) patch features in raster order, with
            `ln_post` and the projection applied, not normalised.
        tokens: Per tap (B, P, width), the same patches before the projection; empty unless asked
            for.
        entropies: Per block asked for, (B, P) float32, of the ordinary path's attention.
        windows: Per scale asked for, (B, n, D), those of its windows, like `image`.
    """

    image: Tensor
    patches: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...] = ()
    entropies: tuple[Tensor, ...] = ()
    windows: tuple[Tensor, ...] = ()

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all of them in a fixed order."""
        return (self.image, *(tensor for group in GROUPS for tensor in getattr(self, group)))

    def like(self, tensors: Sequence[Tensor]) -> VisionFeatures:
        """Return features of the same kind with other `tensors`, in that order."""
        image, *rest = tensors
        after = iter(rest)
        sizes = (len(getattr(self, group)) for group in GROUPS)
        return VisionFeatures(image, *(tuple(islice(after, size)) for size in sizes))
