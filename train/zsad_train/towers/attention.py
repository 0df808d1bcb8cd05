"""Attention written over the parameters of `nn.MultiheadAttention`, in operators that export."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsad.errors import InputError


def project_qkv(
    attention: nn.MultiheadAttention, tokens: Tensor, *, cls_query: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Project normalised tokens to the queries, keys and values of every head.

    Args:
        attention: The module whose `in_proj` is used.
        tokens: (B, N, width).
        cls_query: Project the query of the first token only, all that the CLS row needs.

    Returns:
        Queries (B, heads, N or 1, d), keys and values (B, heads, N, d).
    """
    weight, bias, width = attention.in_proj_weight, attention.in_proj_bias, tokens.shape[-1]
    if cls_query:
        q = F.linear(tokens[:, :1], weight[:width], bias[:width])
        k, v = F.linear(tokens, weight[width:], bias[width:]).chunk(2, dim=-1)
    else:
        q, k, v = F.linear(tokens, weight, bias).chunk(3, dim=-1)
    heads = attention.num_heads
    return _split_heads(q, heads), _split_heads(k, heads), _split_heads(v, heads)


def attend(
    attention: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False
) -> Tensor:
    """Return `out_proj(softmax(q k^T / sqrt(d)) v)`, (B, N, width), for per-head q, k, v."""
    projected: Tensor = attention.out_proj(_merge_heads(mix_values(q, k, v, causal=causal)))
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


def _merge_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)  # (B, N, width)
