"""Prototypes of an image's patches, one set per state (CoPS, explicit state token synthesis)."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from zsad_train.prompts import INIT_STD
from zsad_train.similarity import unit
from zsad_train.towers.attention import merge_heads, project_keys_values, project_queries


class Prototypes(NamedTuple):
    """What an image has of either state, two tensors (B, M, width)."""

    normal: Tensor
    anomalous: Tensor


class PrototypeExtractor(nn.Module):
    """Learned queries that attend to the patches of an image, then pass an MLP.

    Both states share the layers: a query sees patches, never another query.

    Attributes:
        normal: (M, width), the queries of the normal prototypes.
        anomalous: (M, width), those of the anomalous ones.
    """

    def __init__(self, width: int, *, count: int, heads: int) -> None:
        """Draw M = `count` queries per state and the layers."""
        super().__init__()
        self.normal = nn.Parameter(torch.randn(count, width) * INIT_STD)
        self.anomalous = nn.Parameter(torch.randn(count, width) * INIT_STD)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)  # one for queries and patches alike
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), QuickGELU(), nn.Linear(width, width))
        init_linears(self)

    def ask(self, queries: Tensor) -> Tensor:
        """Return the scaled heads (1, heads, M, d) of queries (M, width)."""
        asked = project_queries(self.attention, self.norm(queries)[None])
        return asked * (1 / math.sqrt(asked.shape[-1]))

    def find(self, queries: Tensor, asked: Tensor, patches: Tensor) -> Tensor:
        """Return what queries (M, width) find in patches (B, P, width), (B, M, width)."""
        key, value = project_keys_values(self.attention, self.norm(patches))
        weights = (asked @ key.transpose(-2, -1)).softmax(dim=-1)
        found = queries + self.attention.out_proj(merge_heads(weights @ value))
        finished: Tensor = found + self.mlp(self.mlp_norm(found))
        return finished

    def forward(self, patches: Tensor) -> Prototypes:
        """Return the prototypes of patches (B, P, width).

        Each state's are found on their own, so that a loss without the one has no gradient for it,
        not even one of zeros, which would move it by its momentum.
        """
        states = (self.normal, self.anomalous)
        return Prototypes(*(self.find(state, self.ask(state), patches) for state in states))

    def bake(self) -> BakedPrototypes:
        """Return the same map of patches with the queries as constants."""
        return BakedPrototypes(self)


class BakedPrototypes(nn.Module):
    """`PrototypeExtractor` for inference; it shares nothing with it."""

    queries: Tensor
    asked: Tensor

    @torch.no_grad()
    def __init__(self, extractor: PrototypeExtractor) -> None:
        """Project the queries once, those of both states together."""
        super().__init__()
        queries = torch.cat([extractor.normal, extractor.anomalous])
        self.register_buffer("queries", queries)
        self.register_buffer("asked", extractor.ask(queries))
        self.extractor = copy.deepcopy(extractor)
        del self.extractor.normal, self.extractor.anomalous

    def forward(self, patches: Tensor) -> Prototypes:
        """Return the prototypes of patches (B, P, width)."""
        found = self.extractor.find(self.queries, self.asked, patches)
        return Prototypes(*found.chunk(2, dim=1))


def init_linears(module: nn.Module) -> None:
    """Draw the weights of every linear layer in `module` as CLIP's tokens are, without bias."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)


def prototype_distances(patches: Tensor, prototypes: Tensor) -> Tensor:
    """Return how far every patch is from a state, (B, P) float32 in [0, 2].

    The distance is 1 minus the cosine with the nearest prototype.

    Args:
        patches: (B, P, width).
        prototypes: (B, M, width), those of the state.
    """
    with torch.autocast(patches.device.type, enabled=False):
        return 1 - (unit(patches) @ unit(prototypes).mT).amax(dim=2)
