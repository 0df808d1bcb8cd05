"""One score of an image and its patches, each patch weighed by prototypes (CoPS, SAGA).

Spatially-aware glocal alignment: how abnormal a patch is against the text counts as far as the
patch is from the normal prototypes and near to the anomalous ones.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from zsad_train.prototypes import Prototypes, prototype_distances
from zsad_train.similarity import mean_probability, pair_logit, probability_logit

_NO_SPREAD = 1e-8
"""Distances that differ by less are one distance."""


class Glocal(NamedTuple):
    """What is weighed up in the end.

    Attributes:
        score: (B,) float32 in [0, 1].
        score_logit: (B,) float32.
        abnormal: (B, P) float32 in [0, 1], of the patches.
    """

    score: Tensor
    score_logit: Tensor
    abnormal: Tensor


class Alignment(NamedTuple):
    """How images stand against the texts and prototypes that were made for them.

    Attributes:
        image: (B,) float32, logit of the image feature.
        patches: (B, P) float32, logits of the patches.
        from_normal: (B, P) float32, distances of the patches from the normal prototypes.
        from_anomalous: (B, P) float32, from the anomalous ones.
    """

    image: Tensor
    patches: Tensor
    from_normal: Tensor
    from_anomalous: Tensor

    def weights(self, distance_share: float) -> Tensor:
        """Return the weights (B, P) in [0, 1] of the patches' probabilities.

        Args:
            distance_share: Of the distance from the normal prototypes, beside the nearness to the
                anomalous ones.
        """
        far, near = _stretch(self.from_normal), 1 - _stretch(self.from_anomalous)
        return distance_share * far + (1 - distance_share) * near

    def weigh(self, distance_share: float, image_share: float) -> Glocal:
        """Return the image score, `image_share` of it the image's own, and the patches'."""
        weights, chance = self.weights(distance_share), self.patches.sigmoid()
        abnormal = weights * chance
        normal = (-self.patches).sigmoid() + (1 - weights) * chance  # 1 - abnormal, to all digits
        highest = probability_logit(abnormal.amax(dim=1), normal.amin(dim=1))
        shares = (image_share, 1 - image_share)
        return Glocal(*mean_probability((self.image, highest), shares), abnormal)


def align(
    image: Tensor, patches: Tensor, prototypes: Prototypes, text: Tensor, tau: float
) -> Alignment:
    """Hold images against their own texts and prototypes.

    Args:
        image: (B, D) features.
        patches: (B, P, D).
        prototypes: Of the images.
        text: (B, 2, D), [normal, abnormal].
        tau: Temperature of the softmax over the two.
    """
    return Alignment(
        pair_logit(image[:, None], text, tau)[:, 0],
        pair_logit(patches, text, tau),
        prototype_distances(patches, prototypes.normal),
        prototype_distances(patches, prototypes.anomalous),
    )


def _stretch(distances: Tensor) -> Tensor:
    """Return distances (B, P) brought to [0, 1], each image's on its own."""
    lowest = distances.amin(dim=1, keepdim=True)
    span = distances.amax(dim=1, keepdim=True) - lowest
    return (distances - lowest) / span.clamp_min(_NO_SPREAD)
