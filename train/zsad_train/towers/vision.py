"""The vision tower: open_clip's ViT with its block loop opened up.

With every switch off the image feature equals `open_clip`'s `encode_image`. The switches are
what zero-shot anomaly detectors change in CLIP: tokens beside the patches, several tapped
blocks, a V-V attention stream (AnomalyCLIP's DPAM) and modules that rewrite the patches between
blocks (DIVE's deep injection).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zsad_train.towers.attention import (
    EntropyHeads,
    attend,
    attention_entropy,
    project_qkv,
)
from zsad_train.towers.features import TokenNorm, VisionFeatures
from zsad_train.towers.inserted import InsertedTokens
from zsad_train.towers.support import check_size, check_vision
from zsad_train.towers.vision_plan import Injection, Plan


class VisionTower(nn.Module):
    """An open_clip `VisionTransformer` seen block by block; it shares the parameters, no copies.

    Attributes:
        width: Token width inside the tower.
        depth: Number of blocks.
        heads: Attention heads per block.
        embed_dim: Width D of the joint image-text space.
        patch_px: Side of a patch in pixels.
        image_hw: Input height and width in pixels.
        grid_hw: Patch rows and columns.
        grad_checkpointing: Recompute each block in the backward pass instead of keeping its
            activations.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        """Wrap `visual`.

        Raises:
            InputError: The architecture is one this tower cannot reproduce exactly.
        """
        super().__init__()
        check_vision(visual)
        self.conv1 = visual.conv1
        self.class_embedding = visual.class_embedding
        self.positional_embedding = visual.positional_embedding
        self.ln_pre = visual.ln_pre
        self.blocks = visual.transformer.resblocks
        self.ln_post = visual.ln_post
        self.proj = visual.proj
        self.width: int = visual.class_embedding.shape[0]
        self.depth = len(self.blocks)
        self.heads: int = self.blocks[0].attn.num_heads
        self.embed_dim: int = visual.proj.shape[1]
        self.patch_px: int = visual.patch_size[0]
        self.image_hw: tuple[int, int] = tuple(visual.image_size)
        self.grid_hw: tuple[int, int] = tuple(visual.grid_size)
        self.grad_checkpointing = False
        self._pools_patches: bool = visual.pool_type == "avg"
        self._pools_before_norm: bool = visual.final_ln_after_pool
        self._patch_rows = slice(1, 1 + self.grid_hw[0] * self.grid_hw[1])

    def forward(
        self,
        images: Tensor,
        *,
        prompts: Tensor | None = None,
        taps: Sequence[int] = (-1,),
        vv_from_block: int | None = None,
        injections: Mapping[int, Injection] | None = None,
        cls_ln_post: bool = True,
        inserted: InsertedTokens | None = None,
        tokens_as: TokenNorm | None = None,
        project_patches: bool = True,
        entropy_blocks: Sequence[int] = (),
        entropy_heads: EntropyHeads = "mean",
        windows: Sequence[Tensor] = (),
    ) -> VisionFeatures:
        """Encode images; block indices are 0-based or negative from the end.

        The V-V stream starts as the patches entering block `vv_from_block` and adds
        `out_proj(softmax(v v^T / sqrt(d)) v)` per block, v being the ordinary path's own, over
        all tokens; it has no MLP and never feeds back (AnomalyCLIP, DPAM). Taps from that block
        on read it, earlier taps the ordinary stream; the image feature always comes from the
        ordinary stream. Where nothing reads the patches that the ordinary path makes in the last
        block, only its CLS row is computed, which changes no result.

        Args:
            images: (B, 3, H, W) float at `image_hw`, RGB, normalised by the backbone's mean/std.
            prompts: (k, width) tokens appended after the patches; they get no position and pass
                `ln_pre`.
            taps: Blocks after which patch features are read.
            vv_from_block: First block of the V-V stream; None reads the ordinary stream.
            injections: Per block, what rewrites the ordinary stream's patches after it. CLS and
                prompts are left alone and see the change through the next block.
            cls_ln_post: Apply `ln_post` to the image feature; AnomalyCLIP's code does not.
            inserted: Tokens that stand behind the patches in every block and do not pass `ln_pre`
                (DAPO, which has them before the patches: to attention it is the same).
            tokens_as: Keep the tapped patches before the projection, too (MRAD).
            project_patches: Give the projected patches; DAPO has layers of its own in their place.
            entropy_blocks: Blocks whose attention entropy is read (EntroAD); it changes nothing.
            entropy_heads: Where the mean over heads is taken.
            windows: Per scale (n, k) long: the k patches, in raster order, of n windows. Each goes
                through all blocks as if it were an image of its own: CLS and its patches, at their
                places in the image, without prompts (WinCLIP 4.2).

        Raises:
            InputError: Wrong image size, a block that does not exist, two injections after one
                block, or one after the last block whose result nothing would read.
        """
        plan = Plan.resolve(
            self.depth,
            self._pools_patches,
            taps,
            vv_from_block,
            injections or {},
            entropy_blocks,
            entropy_heads,
        )
        tokens = embedded = self._embed(images, prompts)
        vv = tokens[:, self._patch_rows]
        patches: dict[int, Tensor] = {}
        kept: dict[int, Tensor] = {}
        entropies: dict[int, Tensor] = {}
        for index in range(self.depth):
            if index == plan.vv_from:
                vv = tokens[:, self._patch_rows]
            if inserted is not None:
                tokens = inserted.enter(index, tokens, at=self._patch_rows.stop)
            tokens, vv, entropies[index] = self._step(index, tokens, vv, plan)
            if index in plan.injections:
                tokens = self._inject(plan.injections[index], tokens)
            if index in plan.taps:
                read = vv if plan.runs_vv(index) else tokens[:, self._patch_rows]
                normed = self.ln_post(read) if project_patches or tokens_as == "ln_post" else read
                if project_patches:
                    patches[index] = normed @ self.proj
                kept[index] = normed if tokens_as == "ln_post" else read
        return VisionFeatures(
            image=self._pool(tokens, cls_ln_post) @ self.proj,
            patches=tuple(patches[tap] for tap in plan.taps if project_patches),
            tokens=() if tokens_as is None else tuple(kept[tap] for tap in plan.taps),
            entropies=tuple(entropies[index] for index in plan.entropies),
            windows=tuple(self._encode_windows(embedded, each) for each in windows),
        )

    def _encode_windows(self, embedded: Tensor, windows: Tensor) -> Tensor:
        """Return the features (B, n, D) of windows (n, k) of embedded tokens (B, N, width)."""
        picked = embedded[:, 1:].index_select(1, windows.flatten())
        picked = picked.reshape(-1, *windows.shape, self.width)  # (B, n, k, width)
        cls_token = embedded[:, :1, None].expand(-1, windows.shape[0], -1, -1)
        tokens = torch.cat([cls_token, picked], dim=2).flatten(0, 1)  # (B n, 1 + k, width)
        run = self._runner()
        for index, block in enumerate(self.blocks):
            cls_only = index == self.depth - 1 and not self._pools_patches
            tokens, _, _ = run(block, tokens, tokens, False, cls_only)
        projected: Tensor = self._pool(tokens, True) @ self.proj
        return projected.reshape(-1, windows.shape[0], self.embed_dim)

    def _embed(self, images: Tensor, prompts: Tensor | None) -> Tensor:
        check_size(images, self.image_hw)
        patches = self.conv1(images.to(self.class_embedding.dtype))
        patches = patches.flatten(2).transpose(1, 2)  # (B, P, width)
        batch = patches.shape[0]
        cls_token = self.class_embedding.to(patches.dtype).expand(batch, 1, -1)
        tokens = torch.cat([cls_token, patches], dim=1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        if prompts is not None:
            appended = prompts.to(tokens.dtype).expand(batch, -1, -1)  # (B, k, width)
            tokens = torch.cat([tokens, appended], dim=1)
        normed: Tensor = self.ln_pre(tokens)
        return normed

    def _step(
        self, index: int, tokens: Tensor, vv: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor, Tensor]:
        cls_only = plan.last_is_cls_only and index == self.depth - 1
        heads = plan.entropy_heads if index in plan.entropies else None
        return self._runner()(self.blocks[index], tokens, vv, plan.runs_vv(index), cls_only, heads)

    def _runner(self) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
        """Return `_run_block`, under checkpointing where that is asked for."""
        if self.grad_checkpointing and torch.is_grad_enabled():
            return partial(checkpoint, self._run_block, use_reentrant=False)
        return self._run_block

    def _run_block(
        self,
        block: ResidualAttentionBlock,
        tokens: Tensor,
        vv: Tensor,
        run_vv: bool,
        cls_only: bool,
        entropy_heads: EntropyHeads | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens, V-V stream and attention entropy, which is empty unless asked for."""
        queries = slice(0, 1) if cls_only and entropy_heads is None else None
        q, k, v = project_qkv(block.attn, block.ln_1(tokens), queries=queries)
        entropy = q.new_empty(0)
        if entropy_heads is not None:
            entropy = attention_entropy(q, k, self._patch_rows, entropy_heads)
            q = q[:, :, :1] if cls_only else q
        if run_vv:
            vv = vv + block.ls_1(attend(block.attn, v[:, :, self._patch_rows], v, v))
        tokens = tokens[:, :1] if cls_only else tokens
        tokens = tokens + block.ls_1(attend(block.attn, q, k, v))
        return tokens + block.ls_2(block.mlp(block.ln_2(tokens))), vv, entropy

    def _inject(self, injection: Injection, tokens: Tensor) -> Tensor:
        rows = self._patch_rows
        return torch.cat([tokens[:, :1], injection(tokens[:, rows]), tokens[:, rows.stop :]], dim=1)

    def _pool(self, tokens: Tensor, norm: bool) -> Tensor:
        if not self._pools_patches:
            pooled = tokens[:, 0]
        elif norm and not self._pools_before_norm:
            # The norm does not commute with the mean, so their order is the model's.
            patches: Tensor = self.ln_post(tokens[:, self._patch_rows])
            return patches.mean(dim=1)
        else:
            pooled = tokens[:, self._patch_rows].mean(dim=1)
        return self.ln_post(pooled) if norm else pooled
