"""Samples of what an image may be of, from an autoencoder (CoPS, implicit class token sampling)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zsad_train.prototypes import init_linears


class ClassSample(NamedTuple):
    """One sample per image, and the normal distribution that its latent is from.

    Attributes:
        decoded: (B, width).
        mean: (B, width).
        log_variance: (B, width).
    """

    decoded: Tensor
    mean: Tensor
    log_variance: Tensor

    def divergence(self) -> Tensor:
        """Return the Kullback-Leibler divergence from N(0, I), averaged over the batch."""
        mean, log_variance = self.mean.float(), self.log_variance.float()
        each = 1 + log_variance - mean.square() - log_variance.exp()
        return -0.5 * each.sum(dim=1).mean()


class ClassSampler(nn.Module):
    """A variational autoencoder of image features.

    Attributes:
        latents: (R, width) float32 of N(0, I), the same for every image.
    """

    latents: Tensor

    def __init__(self, width: int, *, samples: int, seed: int) -> None:
        """Draw the layers; the R = `samples` latents are drawn from `seed` alone."""
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.mean = nn.Linear(width, width)
        self.log_variance = nn.Linear(width, width)
        self.decoder = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        init_linears(self)
        drawn = torch.randn(samples, width, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("latents", drawn, persistent=False)

    def forward(self, image: Tensor) -> ClassSample:
        """Return a sample of image features (B, width), drawn by torch's global CPU generator."""
        hidden = self.hidden(image)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        noise = torch.randn(mean.shape).to(mean)  # the same on every device
        return ClassSample(
            self.decoder((0.5 * log_variance).exp() * noise + mean), mean, log_variance
        )

    def prior(self) -> Tensor:
        """Return R samples (R, width) that know of no image, which is how inference draws them."""
        decoded: Tensor = self.decoder(self.latents)
        return decoded


def reconstruction_error(image: Tensor, decoded: Tensor, *, pairs: bool) -> Tensor:
    """Return how far decoded samples (B, width) are from image features (B, width).

    Args:
        image: What was encoded.
        decoded: What came of it.
        pairs: The mean over dimensions and over all B * B pairs of the batch, as CoPS's code has
            it, instead of the squared distance of each from its own, averaged over the batch.
    """
    if pairs:
        return (image.float() - decoded.float()[:, None]).square().mean()
    return (image.float() - decoded.float()).square().sum(dim=1).mean()
