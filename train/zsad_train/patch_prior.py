"""DAP: the most abnormal patches of an image shift its abnormal prompts (FAPrompt section 3.4)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from zsad_train.similarity import unit

PatchSelection = Literal["topk", "first"]
"""Which patches: the most abnormal ones, in falling order, or simply the first in raster order."""


class PatchPrior(nn.Module):
    """The abnormality prior network, from M patches of an image to one shift.

    Attributes:
        count: M.
        selection: Which patches.
    """

    def __init__(
        self, joint: int, width: int, *, count: int, ratio: int, selection: PatchSelection
    ) -> None:
        """Create two linear layers with a ReLU between them, with PyTorch's own initial values.

        Args:
            joint: Width D of a patch's feature.
            width: Width of the text tower, which the shift has.
            count: M, patches that are read.
            ratio: Width of the input, M * D, over that of the hidden layer.
            selection: Which patches.
        """
        super().__init__()
        self.count = count
        self.selection = selection
        inputs = count * joint
        hidden = max(1, inputs // ratio)
        self.network = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, patches: Tensor, abnormality: Tensor) -> Tensor:
        """Return the shift (B, width) of every image.

        Args:
            patches: (B, P, D), P at least M.
            abnormality: (B, P), higher is more abnormal; only its order is used.
        """
        chosen = unit(self._choose(patches, abnormality)).to(patches.dtype)
        shift: Tensor = self.network(chosen.flatten(1))
        return shift

    def _choose(self, patches: Tensor, abnormality: Tensor) -> Tensor:
        if self.selection == "first":
            return patches[:, : self.count]
        places = abnormality.topk(self.count, dim=1).indices  # (B, M)
        return patches.gather(1, places[:, :, None].expand(-1, -1, patches.shape[2]))
