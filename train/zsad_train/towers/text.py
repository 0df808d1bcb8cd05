"""The text tower: open_clip's causal text transformer, run on token embeddings.

Learned prompts live in the space of token embeddings, so the tower starts there. With plain
tokens it equals `open_clip`'s `encode_text`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from zsad.errors import InputError
from zsad_train.towers.attention import attend, project_qkv
from zsad_train.towers.inserted import InsertedTokens
from zsad_train.towers.support import check_text

KeysValues = tuple[Tensor, Tensor]


class TextTower(nn.Module):
    """The text half of an open_clip CLIP seen block by block; it shares the parameters.

    Attributes:
        width: Token width inside the tower.
        depth: Number of blocks.
        embed_dim: Width D of the joint image-text space.
        context_length: Longest sequence in tokens.
    """

    def __init__(self, clip: CLIP | CustomTextCLIP) -> None:
        """Wrap the text half of `clip`.

        Raises:
            InputError: The architecture is one this tower cannot reproduce exactly.
        """
        super().__init__()
        check_text(clip)
        text = getattr(clip, "text", clip)
        self.token_embedding = text.token_embedding
        self.positional_embedding = text.positional_embedding
        self.blocks = text.transformer.resblocks
        self.ln_final = text.ln_final
        self.text_projection = text.text_projection
        self.width: int = text.token_embedding.embedding_dim
        self.depth = len(self.blocks)
        self.embed_dim = _output_width(text.text_projection, self.width)
        self.context_length: int = text.positional_embedding.shape[0]
        pool_type = clip.text_pool_type if isinstance(clip, CLIP) else text.pool_type
        eos_id = clip.text_eos_id if isinstance(clip, CLIP) else text.eos_id
        self._eos_id: int | None = eos_id if pool_type == "eos" else None

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the embeddings (n, L, width) of token ids (n, L) long, without positions."""
        embeddings: Tensor = self.token_embedding(token_ids)
        return embeddings

    def eot_positions(self, token_ids: Tensor) -> Tensor:
        """Return the position (n,) long of the end-of-text token in token ids (n, L) long."""
        if self._eos_id is None:
            return token_ids.argmax(dim=-1)
        return (token_ids == self._eos_id).int().argmax(dim=-1)

    def encode(self, token_ids: Tensor) -> Tensor:
        """Return the features (n, D), not normalised, of token ids (n, L) long."""
        return self.forward(self.embed(token_ids), self.eot_positions(token_ids))

    def forward(
        self,
        embeddings: Tensor,
        eot: Tensor,
        deep_prompts: Sequence[Tensor] = (),
        *,
        inserted: InsertedTokens | None = None,
        causal: bool = True,
    ) -> Tensor:
        """Encode token embeddings; the feature is read at the end-of-text token.

        Under the causal mask nothing behind the last end-of-text token reaches a result, so the
        sequence is cut there; the result is the same. A graph that is being exported keeps the
        whole sequence, since where to cut depends on the text, and so does one without the mask.

        Args:
            embeddings: (n, L, width), L at most `context_length`, without positions.
            eot: (n,) long, position of each row's end-of-text token.
            deep_prompts: Entry i, (n_deep, width), overwrites positions 1 to n_deep of every row
                at the input of block i + 1 (MaPLe, AnomalyCLIP; 0-based blocks).
            inserted: Tokens that stand behind the start token in every block (DAPO); they move
                what follows, so `eot` is counted without them.
            causal: Whether a token sees only what comes before it, as CLIP was trained.

        Returns:
            (n, D), not normalised.

        Raises:
            InputError: A text longer than the context, more deep prompts than blocks to put them
                in, or one that would overwrite an end-of-text token.
        """
        length = embeddings.shape[1]
        if not torch.compiler.is_exporting():
            self._check_deep_prompts(deep_prompts, eot)
            length = int(eot.max()) + 1 if causal else length
        if length > self.context_length:
            raise InputError(
                f"{length} tokens do not fit the context of {self.context_length}: use a shorter "
                "text or fewer learned tokens"
            )
        tokens, _ = self.run_blocks(
            embeddings[:, :length], deep_prompts, inserted=inserted, causal=causal
        )
        rows = torch.arange(tokens.shape[0], device=tokens.device)
        read_at = eot if inserted is None else eot + inserted.count
        return read_out(tokens[rows, read_at], self.ln_final, self.text_projection)

    def run_blocks(
        self,
        embeddings: Tensor,
        deep_prompts: Sequence[Tensor] = (),
        *,
        inserted: InsertedTokens | None = None,
        causal: bool = True,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Run token embeddings (n, L, width), without positions, through every block.

        Returns:
            The tokens (n, L, width) that leave the last block, L longer by those that were
            inserted, and the keys and values (n, heads, L, d) inside each.
        """
        tokens = embeddings + self.positional_embedding[: embeddings.shape[1]].to(embeddings.dtype)
        seen = []
        for index, block in enumerate(self.blocks):
            if 0 < index <= len(deep_prompts):
                tokens = _overwrite_prefix(tokens, deep_prompts[index - 1])
            if inserted is not None:
                tokens = inserted.enter(index, tokens, at=1)
            q, k, v = project_qkv(block.attn, block.ln_1(tokens))
            seen.append((k, v))
            tokens = finish_block(block, tokens, attend(block.attn, q, k, v, causal=causal))
        return tokens, seen

    def _check_deep_prompts(self, deep_prompts: Sequence[Tensor], eot: Tensor) -> None:
        if not deep_prompts:
            return
        if len(deep_prompts) > self.depth - 1:
            raise InputError(
                f"{len(deep_prompts)} deep prompts for a text tower of {self.depth} blocks: "
                f"use at most {self.depth - 1}, the first block takes none"
            )
        longest, first_eot = max(p.shape[0] for p in deep_prompts), int(eot.min())
        if longest >= first_eot:
            raise InputError(
                f"a deep prompt of {longest} tokens would overwrite the end-of-text token at "
                f"position {first_eot}: use at most {first_eot - 1} tokens"
            )


def finish_block(block: ResidualAttentionBlock, tokens: Tensor, attended: Tensor) -> Tensor:
    """Return what leaves a block for the tokens that entered it and what they attended to."""
    tokens = tokens + block.ls_1(attended)
    finished: Tensor = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    return finished


def read_out(tokens: Tensor, ln_final: nn.Module, projection: nn.Linear | Tensor | None) -> Tensor:
    """Return the features (..., D) of tokens (..., width) that left a text tower's last block."""
    features: Tensor = ln_final(tokens)
    if isinstance(projection, nn.Linear):
        return torch.as_tensor(projection(features))
    return features if projection is None else features @ projection


def _overwrite_prefix(tokens: Tensor, deep: Tensor) -> Tensor:
    rows = deep.to(tokens.dtype).expand(tokens.shape[0], -1, -1)  # (n, n_deep, width)
    return torch.cat([tokens[:, :1], rows, tokens[:, 1 + deep.shape[0] :]], dim=1)


def _output_width(projection: nn.Linear | Tensor | None, width: int) -> int:
    if projection is None:
        return width
    return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]
