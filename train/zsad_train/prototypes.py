"""Prototypes of an image's patches, one set per state (CoPS, explicit state token synthesis)."""

from __future__ import annotations

import copy
import math

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from zsad_train.prompts import INIT_STD
from zsad_train.similarity import unit
from zsad_train.towers.attention import merge_heads, project_keys_values, project_queries


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

    def queries(self) -> tuple[Tensor, Tensor]:
        """Return the queries (2M, width), and their scaled heads (1, heads, 2M, d)."""
        queries = torch.cat([self.normal, self.anomalous])
        asked = project_queries(self.attention, self.norm(queries)[None])
        return queries, asked * (1 / math.sqrt(asked.shape[-1]))

    def attend(self, queries: Tensor, asked: Tensor, patches: Tensor) -> Tensor:
        """Return the prototypes (B, 2, M, width) that `queries` find in patches (B, P, width)."""
        key, value = project_keys_values(self.attention, self.norm(patches))
        weights = (asked @ key.transpose(-2, -1)).softmax(dim=-1)
        attended = merge_heads(weights @ value)  # (B, 2M, width)
        found = queries + self.attention.out_proj(attended)
        found = found + self.mlp(self.mlp_norm(found))
        return torch.stack(found.chunk(2, dim=1), dim=1)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the prototypes (B, 2, M, width), [normal, anomalous], of patches (B, P, width)."""
        return self.attend(*self.queries(), patches)

    def bake(self) -> BakedPrototypes:
        """Return the same map of patches with the queries as constants."""
        return BakedPrototypes(self)


class BakedPrototypes(nn.Module):
    """`PrototypeExtractor` for inference; it shares nothing with it."""

    queries: Tensor
    asked: Tensor

    @torch.no_grad()
    def __init__(self, extractor: PrototypeExtractor) -> None:
        """Project the queries once."""
        super().__init__()
        queries, asked = extractor.queries()
        self.register_buffer("queries", queries)
        self.register_buffer("asked", asked)
        self.extractor = copy.deepcopy(extractor)
        del self.extractor.normal, self.extractor.anomalous

    def forward(self, patches: Tensor) -> Tensor:
        """Return the prototypes (B, 2, M, width) of patches (B, P, width)."""
        found: Tensor = self.extractor.attend(self.queries, self.asked, patches)
        return found


def init_linears(module: nn.Module) -> None:
    """Draw the weights of every linear layer in `module` as CLIP's tokens are, without bias."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)


def prototype_distances(patches: Tensor, prototypes: Tensor) -> Tensor:
    """Return how far every patch is from either state, (B, 2, P) float32 in [0, 2].

    The distance is 1 minus the cosine with the nearest of the state's prototypes.

    Args:
        patches: (B, P, width).
        prototypes: (B, 2, M, width).
    """
    with torch.autocast(patches.device.type, enabled=False):
        cosines = unit(patches) @ unit(prototypes).flatten(1, 2).mT  # (B, P, 2M)
    return torch.stack([1 - nearest.amax(dim=2) for nearest in cosines.chunk(2, dim=2)], dim=1)
