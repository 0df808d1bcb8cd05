"""Text in the vision tower: patches attend to a bank of described states (DIVE Eq. 3-4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DescriptionAttention(nn.Module):
    """Cross-attention from patches to descriptions, added with a weight.

    Patches are the query; the bank, projected to the vision width, is key and value (Eq. 4). The
    result joins the patches by a weighted residual (Eq. 3). The layer's inside is not described
    in the paper; it follows AF-CLIP's, the nearest relative: LayerNorm first, no bias on query,
    key and value, an output projection with one.

    Attributes:
        weight: The residual weight, lambda in Eq. 3.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        head_width: int,
        weight: float,
        pre_norm: bool = True,
        zero_init: bool = True,
    ) -> None:
        """Create the layer; `zero_init` starts it as the identity."""
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.head_width = head_width
        self.weight = weight
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.output = nn.Linear(inner, width)
        if zero_init:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def keys_and_values(self, bank: Tensor) -> tuple[Tensor, Tensor]:
        """Return K, scaled and transposed, (heads, d, T), and V, (heads, T, d).

        Args:
            bank: (T, width), the descriptions in the vision tower's width.
        """
        key = _split_heads(self.key(bank), self.heads)  # (T, heads, d)
        value = _split_heads(self.value(bank), self.heads)
        key = key.permute(1, 2, 0) * self.head_width**-0.5
        return key.contiguous(), value.transpose(0, 1).contiguous()

    def forward(self, patches: Tensor, bank: Tensor) -> Tensor:
        """Return patches (B, P, width) with what the bank (T, width) says about them added."""
        key, value = self.keys_and_values(bank)
        query = _split_heads(self.query(self.norm(patches)), self.heads)
        attended: Tensor = self.output(attend(query, key, value))
        return patches + self.weight * attended

    @torch.no_grad()
    def bake(self, bank: Tensor) -> BakedDescriptionAttention:
        """Return the same map of patches with the bank's K and V as constants."""
        return BakedDescriptionAttention(self, *self.keys_and_values(bank))


class BakedDescriptionAttention(nn.Module):
    """`DescriptionAttention` for one bank: K and V are constants, lambda is in the output layer."""

    key: Tensor
    value: Tensor

    def __init__(self, layer: DescriptionAttention, key: Tensor, value: Tensor) -> None:
        """Copy what `layer` does to patches; K is (heads, d, T), scaled, V is (heads, T, d)."""
        super().__init__()
        width, inner = layer.output.out_features, layer.output.in_features
        self.norm = nn.LayerNorm(width) if isinstance(layer.norm, nn.LayerNorm) else nn.Identity()
        self.norm.load_state_dict(layer.norm.state_dict())
        self.query = nn.Linear(width, inner, bias=False)
        self.query.load_state_dict(layer.query.state_dict())
        self.output = nn.Linear(inner, width)
        self.output.load_state_dict(
            {name: layer.weight * tensor for name, tensor in layer.output.state_dict().items()}
        )
        self.register_buffer("key", key)
        self.register_buffer("value", value)

    def forward(self, patches: Tensor) -> Tensor:
        """Return patches (B, P, width) with what the bank says about them added."""
        query = _split_heads(self.query(self.norm(patches)), self.key.shape[0])
        attended: Tensor = self.output(attend(query, self.key, self.value))
        return patches + attended


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend from every patch to one set of keys that all images share.

    Written out, since the fused operator would first copy K and V for every image.

    Args:
        query: (B, P, heads, d).
        key: (heads, d, T), already scaled.
        value: (heads, T, d).

    Returns:
        (B, P, heads * d).
    """
    weights = (query.transpose(1, 2) @ key).softmax(dim=-1)  # (B, heads, P, T)
    return (weights @ value).transpose(1, 2).flatten(-2)  # (B, P, heads * d)


def _split_heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)  # (..., heads, d)
