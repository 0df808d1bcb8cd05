"""Attention written over the parameters of `nn.MultiheadAttention`, in operators that export."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.errors import InputError

EntropyHeads = Literal["mean", "each"]
"""Whether heads are averaged before an entropy is taken of them, or their entropies after it."""

_EPS = 1e-8
"""Of the renormalised rows and of the logarithm in an entropy (EntroAD's reading)."""


def project_qkv(
    attention: nn.MultiheadAttention, tokens: Tensor, *, queries: slice | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Project normalised tokens to the queries, keys and values of every head.

    Args:
        attention: The module whose `in_proj` is used.
        tokens: (B, N, width).
        queries: Positions whose queries are wanted, where only some rows are read; None is all.

    Returns:
        Queries (B, heads, N or fewer, d), keys and values (B, heads, N, d).
    """
    if queries is not None:
        q = project_queries(attention, tokens[:, queries])
        return q, *project_keys_values(attention, tokens)
    projected = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = projected.chunk(3, dim=-1)
    heads = attention.num_heads
    return _split_heads(q, heads), _split_heads(k, heads), _split_heads(v, heads)


def project_queries(attention: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    """Project tokens (B, N, width) to the queries of every head, (B, heads, N, d)."""
    width = tokens.shape[-1]
    q = F.linear(tokens, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    return _split_heads(q, attention.num_heads)


def project_keys_values(attention: nn.MultiheadAttention, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Project tokens (B, N, width) to the keys and values of every head, (B, heads, N, d)."""
    width = tokens.shape[-1]
    weight, bias = attention.in_proj_weight[width:], attention.in_proj_bias[width:]
    k, v = F.linear(tokens, weight, bias).chunk(2, dim=-1)
    return _split_heads(k, attention.num_heads), _split_heads(v, attention.num_heads)


def attend(
    attention: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False
) -> Tensor:
    """Return `out_proj(softmax(q k^T / sqrt(d)) v)`, (B, N, width), for per-head q, k, v."""
    projected: Tensor = attention.out_proj(merge_heads(mix_values(q, k, v, causal=causal)))
    return projected


def mix_values(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Return `softmax(q k^T / sqrt(d)) v`, (B, heads, N, d), for per-head q, k and v."""
    if causal or not torch.compiler.is_exporting():
        mixed: Tensor = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return mixed
    # The exporter's own decomposition computes k^T through shapes at run time, which hides the
    # MatMul, Softmax, MatMul that engines fuse.
    scores = q * (1 / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    return scores.softmax(dim=-1) @ v


def attention_entropy(q: Tensor, k: Tensor, rows: slice, heads: EntropyHeads) -> Tensor:
    """Return how widely patches look at other patches, (B, P) float32 in nats, 0 to ln P.

    Args:
        q: Queries of every token, (B, heads, N, d).
        k: Keys, (B, heads, N, d).
        rows: Which tokens are patches. What they see of others is left out, and the rest of each
            row made to sum to 1 again.
        heads: Where the mean over heads is taken.
    """
    scores = q[:, :, rows] * (1 / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    weights = scores.float().softmax(dim=-1)  # (B, heads, P, N)
    weights = weights.mean(dim=1, keepdim=True) if heads == "mean" else weights
    seen = weights[..., rows]
    seen = seen / (seen.sum(dim=-1, keepdim=True) + _EPS)
    return -(seen * (seen + _EPS).log()).sum(dim=-1).mean(dim=1)


def attend_behind(
    attention: nn.MultiheadAttention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prefix: tuple[Tensor, Tensor],
    mask: Tensor | None,
) -> Tensor:
    """Return `attend` over keys and values that come behind those of a constant prefix.

    The prefix is one for all rows of the batch, or n of them take turns; it is not copied to them.

    Args:
        attention: The module whose `out_proj` is used.
        q: (B, heads, N or fewer, d).
        k: (B, heads, N, d).
        v: (B, heads, N, d).
        prefix: Its keys, scaled by 1 / sqrt(d) and transposed, ([n,] heads, d, p), and its values
            ([n,] heads, p, d). Every query sees all of it.
        mask: Added to the scores of `k`, a row per query; None hides nothing.

    Returns:
        (B, N or fewer, width).
    """
    prefix_key, prefix_value = prefix
    scores = q * (1 / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    weights = torch.cat([_times(q, prefix_key), scores], dim=-1).softmax(dim=-1)
    length = prefix_value.shape[-2]
    mixed = _times(weights[..., :length], prefix_value) + weights[..., length:] @ v
    projected: Tensor = attention.out_proj(merge_heads(mixed))
    return projected


def _times(x: Tensor, constants: Tensor) -> Tensor:
    """Return x (B, heads, N, d) @ (heads, d, p), or @ (n, heads, d, p) row by row in turn."""
    if constants.dim() == 3:
        return x @ constants
    product: Tensor = x.reshape(-1, len(constants), *x.shape[1:]) @ constants
    return product.flatten(0, 1)


def block_index(index: int, depth: int) -> int:
    """Turn a 0-based or negative block index into a 0-based one.

    Raises:
        InputError: The tower has no such block.
    """
    if not -depth <= index < depth:
        raise InputError(
            f"block {index} does not exist: the tower has {depth} blocks, 0 to "
            f"{depth - 1} or -{depth} to -1"
        )
    return index % depth


def _split_heads(x: Tensor, heads: int) -> Tensor:
    head_dim = x.shape[-1] // heads
    return x.reshape(-1, x.shape[1], heads, head_dim).transpose(1, 2)  # (B, heads, N, d)


def merge_heads(x: Tensor) -> Tensor:
    """Return per-head x (B, heads, N, d) as (B, N, width)."""
    return x.transpose(1, 2).flatten(2)
