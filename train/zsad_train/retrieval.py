"""Retrieval from a memory of labelled features (MRAD, ICLR 2026, arXiv 2602.00522).

How abnormal a feature is, is read off the training features that it is most like: a softmax over
all keys, of which the share of the abnormal ones is the probability. The memory is filled from the
training data before the first step and stays; two linear layers learn what "like" means.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.errors import InputError
from zsad_train.neighbours import average_neighbours

POOLED = (1, 3, 5)
"""Sides of the neighbourhoods over which patches are averaged [code]."""

QUANTILE_VALUES = 1 << 23
"""Of so many at a time quantiles are taken: PyTorch refused more than 16 million until mid-2026."""


class Memory(nn.Module):
    """Features of the training data with their labels: what a checkpoint holds beside parameters.

    Attributes:
        keys: (n, width) float32 of length 1, normal ones first; n is 0 until it is filled.
        abnormal: () int64, how many of them are abnormal.
    """

    keys: Tensor
    abnormal: Tensor

    def __init__(self, width: int) -> None:
        """Create an empty memory of features (width,)."""
        super().__init__()
        self.register_buffer("keys", torch.zeros(0, width))
        self.register_buffer("abnormal", torch.zeros((), dtype=torch.int64))

    def fill(self, keys: Tensor, labels: Tensor, *, limit: int, what: str) -> None:
        """Take over keys (n, width), of length 1, and their labels (n,), 0 normal or 1 abnormal.

        Args:
            keys: The features; their order does not matter.
            labels: Their labels.
            limit: Keys that the memory may hold.
            what: Names them in errors.

        Raises:
            InputError: A label is missing, or there are more keys than `limit`.
        """
        if len(keys) > limit:
            raise InputError(
                f"the memory would hold {len(keys)} {what}, {limit} is its limit: train on fewer "
                "images with --limit"
            )
        counts = [int((labels == label).sum()) for label in (0, 1)]
        if 0 in counts:
            kind = ("normal", "defective")[counts.index(0)]
            raise InputError(
                f"the training data gives no {kind} {what} to remember: use data with defects "
                "whose masks cover whole patches"
            )
        order = labels.argsort(stable=True)
        self.keys = keys[order].to(self.keys)
        self.abnormal = labels.sum().to(self.abnormal)

    @property
    def normal(self) -> int:
        """How many keys are normal; they come first."""
        return len(self.keys) - int(self.abnormal)

    def check_filled(self) -> None:
        """Refuse to be read before there is anything to read.

        Raises:
            InputError: It lacks normal or abnormal keys.
        """
        if not 0 < int(self.abnormal) < len(self.keys):
            raise InputError(
                "the memory is empty: train with zsad-train, which fills it before the first epoch"
            )

    def make_room(self, count: int) -> None:
        """Empty the memory and make room for `count` keys, which a checkpoint brings."""
        self.keys = self.keys.new_zeros(count, self.keys.shape[1])
        self.abnormal = torch.zeros_like(self.abnormal)


class Retrieval(nn.Module):
    """A memory and the two linear layers through which features and keys are compared."""

    def __init__(self, width: int, inner: int) -> None:
        """Create an empty memory of features (width,), compared in `inner` dimensions."""
        super().__init__()
        self.memory = Memory(width)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logit of the abnormal share (...,) float32 of features (..., width)."""
        return share_logit(self._scores(features), self.memory.normal)

    def share(self, features: Tensor, hidden: float) -> Tensor:
        """Return the abnormal share itself for features of the training data.

        A feature's own key is among the keys, so those most similar to it are hidden.

        Args:
            features: (..., width), of length 1.
            hidden: Quantile of a feature's similarities, before the linear layers, above which
                keys are hidden.
        """
        scores = self._scores(features).float()
        close = _too_similar(features, self.memory.keys, hidden)
        # Where every abnormal key is hidden the share is 0 and its logit no number.
        weights = scores.masked_fill(close, -torch.inf).softmax(dim=-1)
        return weights[..., self.memory.normal :].sum(dim=-1)

    def _scores(self, features: Tensor) -> Tensor:
        self.memory.check_filled()
        scores: Tensor = self.query(features) @ self.key(self.memory.keys).mT  # (..., n)
        return scores

    def bake(self) -> BakedRetrieval:
        """Return the same map with everything that no image changes as one constant."""
        return BakedRetrieval(self)


class BakedRetrieval(nn.Module):
    """`Retrieval` for inference: both linear layers and the keys are one linear layer."""

    @torch.no_grad()
    def __init__(self, retrieval: Retrieval) -> None:
        """Multiply the keys into the query; nothing is shared with `retrieval`."""
        super().__init__()
        retrieval.memory.check_filled()
        self.normal = retrieval.memory.normal
        keys = retrieval.key(retrieval.memory.keys)  # (n, inner)
        self.scores = nn.Linear(retrieval.query.in_features, len(keys))
        self.scores.weight.copy_(keys @ retrieval.query.weight)
        self.scores.bias.copy_(keys @ retrieval.query.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logit of the abnormal share (...,) float32 of features (..., width)."""
        return share_logit(self.scores(features), self.normal)


def share_logit(scores: Tensor, normal: int) -> Tensor:
    """Return the logit of what a softmax over scores (..., n) gives all but the first `normal`."""
    scores = scores.float()
    return scores[..., normal:].logsumexp(dim=-1) - scores[..., :normal].logsumexp(dim=-1)


def pool_neighbours(patches: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Return the mean over three neighbourhoods of every patch, (B, P, width).

    What lies outside the image counts as zeros.

    Args:
        patches: (B, P, width) in raster order.
        grid_hw: Rows and columns.
    """
    pooled = [average_neighbours(patches, grid_hw, side) for side in POOLED]
    return sum(pooled[1:], pooled[0]) / len(pooled)


def region_keys(patches: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the keys (n, width) of images, at most two each, and their labels (n,).

    They are the mean of the patches that are wholly defective and that of those that are not at
    all, at length 1.

    Args:
        patches: (B, rows, cols, width), pooled, not normalised.
        masks: (B, H, W) float32, 1 on defects.
    """
    size = patches.shape[1:3]
    # Without antialiasing this looks at the pixels in the middle of a patch only [code].
    covered = F.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    keys, labels = [], []
    for image, cover in zip(patches, covered, strict=True):
        for label in (0, 1):
            inside = image[cover == label]
            if len(inside):
                keys.append(F.normalize(inside.mean(dim=0), dim=-1))
                labels.append(label)
    found = torch.stack(keys) if keys else patches.new_zeros(0, patches.shape[-1])
    return found, torch.tensor(labels, dtype=torch.int64, device=patches.device)


@torch.no_grad()
def _too_similar(features: Tensor, keys: Tensor, share: float) -> Tensor:
    similarity = (features @ keys.mT).float()  # whose quantile half precision has not
    rows = similarity.reshape(-1, len(keys))
    at_once = max(1, QUANTILE_VALUES // len(keys))
    parts = [rows[begin : begin + at_once] for begin in range(0, len(rows), at_once)]
    limits = torch.cat([part.quantile(share, dim=-1) for part in parts])
    return similarity > limits.reshape(*similarity.shape[:-1], 1)
