"""The identities of the baked graphs, each beside the form that it replaces.

A pair is two modules of one tensor with the same result: what the methods' equations or their
authors' code say, and what the exported graph does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from method_costs import build
from zsad_train.injection import DescriptionAttention
from zsad_train.methods.options import quarter_ends
from zsad_train.similarity import SimilarityHead, cosine_logits
from zsad_train.smoothing import UpsampleBlur
from zsad_train.towers.attention import attend, project_qkv
from zsad_train.towers.text import finish_block, read_out

if TYPE_CHECKING:
    from zsad_train.methods.faprompt import FaPrompt
    from zsad_train.prompts import PromptLearner
    from zsad_train.towers import Backbone
    from zsad_train.towers.text import TextTower
    from zsad_train.towers.vision import VisionTower

TAU = 0.07
TRUNCATE = 4.0


@dataclass(frozen=True)
class Pair:
    """One identity.

    Attributes:
        name: What it says.
        naive: The form that it replaces.
        ours: What the graph does.
        example: What both take.
        times: How often an image meets it.
    """

    name: str
    naive: nn.Module
    ours: nn.Module
    example: Tensor
    times: int = 1


class ImageFeature(nn.Module):
    """The image feature of a vision tower, what every image costs at least."""

    def __init__(self, tower: VisionTower) -> None:
        """Keep the tower."""
        super().__init__()
        self.tower = tower

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (B, D) of images (B, 3, H, W)."""
        feature: Tensor = self.tower(images).image
        return feature


class Lambda(nn.Module):
    """A function over modules, which it owns."""

    def __init__(self, function: Callable[[Tensor], Tensor], *owned: nn.Module) -> None:
        """Keep `owned`, which `function` closes over, so that an exporter sees their weights."""
        super().__init__()
        self.owned = nn.ModuleList(owned)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Return the function of `x`."""
        return self.function(x)


def pairs(backbone: Backbone) -> list[Pair]:
    """Return every identity at the sizes of `backbone`, its weights random, the seeds fixed."""
    torch.manual_seed(0)
    vision = backbone.vision
    tokens = torch.randn(1, 1 + vision.grid_hw[0] * vision.grid_hw[1], vision.width)
    found = [
        two_class_softmax(backbone),
        upsample_and_blur(vision.grid_hw, vision.image_hw),
        shared_values(backbone, tokens),
        cls_only(backbone, tokens),
        text_tail(backbone),
        constant_bank(backbone, tokens[:, 1:]),
    ]
    for pair in found:
        pair.naive.eval().requires_grad_(False)
        pair.ours.eval().requires_grad_(False)
    return found


def two_class_softmax(backbone: Backbone) -> Pair:
    """softmax([c_n, c_a] / tau)[1] = sigmoid((c_a - c_n) / tau)."""
    joint = backbone.text.embed_dim
    text = torch.randn(2, joint)
    patches = torch.randn(1, backbone.vision.grid_hw[0] * backbone.vision.grid_hw[1], joint)
    head = SimilarityHead(text, TAU)
    naive = Lambda(lambda x: cosine_logits(x, text, TAU).softmax(dim=-1)[..., 1])
    ours = Lambda(lambda x: torch.sigmoid(head(x)), head)
    return Pair("softmax over two states = sigmoid of one product", naive, ours, patches)


def upsample_and_blur(grid_hw: tuple[int, int], image_hw: tuple[int, int]) -> Pair:
    """Resize, then Gaussian = A m A^T."""
    sigma = 0.02 * min(image_hw)
    naive = ResizeThenGaussian(image_hw, sigma)
    ours = UpsampleBlur(grid_hw, image_hw, sigma)
    return Pair("resize and Gaussian = A m A^T", naive, ours, torch.rand(1, *grid_hw))


class ResizeThenGaussian(nn.Module):
    """Bilinear resize, then scipy's `gaussian_filter`: two convolutions over a mirrored border."""

    kernel: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, image_hw: tuple[int, int], sigma: float) -> None:
        """Make the kernel, and where the mirrored samples come from."""
        super().__init__()
        self.image_hw = image_hw
        radius = int(TRUNCATE * sigma + 0.5)
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        self.register_buffer("kernel", (kernel / kernel.sum()).float())
        self.register_buffer("rows", mirrored(image_hw[0], radius))
        self.register_buffer("columns", mirrored(image_hw[1], radius))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the smoothed maps (B, H, W) of maps (B, h, w)."""
        full = F.interpolate(maps[:, None], size=self.image_hw, mode="bilinear")
        down = F.conv2d(full[:, :, self.rows], self.kernel.view(1, 1, -1, 1))
        across = F.conv2d(down[..., self.columns], self.kernel.view(1, 1, 1, -1))
        return across[:, 0]


def mirrored(size: int, radius: int) -> Tensor:
    """Return the sample that stands at each place of an axis with `radius` more at either end."""
    reached = torch.arange(-radius, size + radius) % (2 * size)
    return torch.minimum(reached, 2 * size - 1 - reached)


def shared_values(backbone: Backbone, tokens: Tensor) -> Pair:
    """V-V attention takes v of the ordinary path, instead of projecting q, k and v once more."""
    vision, rows = backbone.vision, slice(1, None)
    block = vision.blocks[-2]

    def naive(x: Tensor) -> Tensor:
        normed = block.ln_1(x)
        ordinary = attend(block.attn, *project_qkv(block.attn, normed))
        _, _, v = project_qkv(block.attn, normed)
        return torch.cat([ordinary, attend(block.attn, v[:, :, rows], v, v)], dim=1)

    def ours(x: Tensor) -> Tensor:
        q, k, v = project_qkv(block.attn, block.ln_1(x))
        ordinary = attend(block.attn, q, k, v)
        return torch.cat([ordinary, attend(block.attn, v[:, :, rows], v, v)], dim=1)

    # The blocks that FAPrompt's stream runs through: 19 of ViT-L's 24.
    times = vision.depth - quarter_ends(vision.depth)[0]
    name = "V-V attention with the ordinary path's v"
    return Pair(name, Lambda(naive, block), Lambda(ours, block), tokens, times)


def cls_only(backbone: Backbone, tokens: Tensor) -> Pair:
    """Where the map is read from the V-V stream, the last block's ordinary path is CLS alone."""
    block = backbone.vision.blocks[-1]

    def run(x: Tensor, rows: slice | None) -> Tensor:
        q, k, v = project_qkv(block.attn, block.ln_1(x), queries=rows)
        kept = x if rows is None else x[:, rows]
        return finish_block(block, kept, attend(block.attn, q, k, v))[:, :1]

    naive = Lambda(lambda x: run(x, None), block)
    ours = Lambda(lambda x: run(x, slice(0, 1)), block)
    return Pair("last block: CLS alone", naive, ours, tokens)


def text_tail(backbone: Backbone) -> Pair:
    """A causal text may be cut at its end token, and a common beginning is K and V."""
    method: FaPrompt = build("faprompt", backbone)  # type: ignore[assignment]
    naive = WholePrompts(method.normal, method.abnormal, backbone.text)
    tail = method.abnormal.bake(backbone.text)
    ours = Lambda(lambda shift: tail(shift).mean(dim=1), tail)
    example = torch.randn(1, backbone.text.width)
    return Pair("FAPrompt's text: behind its prefix, to its end token", naive, ours, example)


class WholePrompts(nn.Module):
    """FAPrompt's text as its code encodes it: all prompts, before and after the shift, whole.

    The prompts before the shift are constants and change no result; the code encodes them with
    every image.
    """

    def __init__(self, normal: PromptLearner, abnormal: PromptLearner, text: TextTower) -> None:
        """Keep the learners and the frozen tower."""
        super().__init__()
        self.normal = normal
        self.abnormal = abnormal
        self.text = text
        self.end = int(abnormal.eot[0])

    def forward(self, shift: Tensor) -> Tensor:
        """Return the prototype (1, D) of the abnormal prompts for a shift (1, width)."""
        normal = torch.cat([self.normal.embeddings()] * 2)
        own = torch.cat([self.abnormal.embeddings(), self.abnormal.embeddings(shift)[0]])
        length = self.text.context_length
        both = torch.cat([F.pad(x, (0, 0, 0, length - x.shape[1])) for x in (normal, own)])
        tokens, _ = self.text.run_blocks(both, self.abnormal.deep_prompts())
        features = read_out(tokens[:, self.end], self.text.ln_final, self.text.text_projection)
        # All of them reach the result, so that no exporter leaves some out.
        constant = 0.0 * features[: -self.count].sum()
        return features[-self.count :].mean(dim=0, keepdim=True) + constant

    @property
    def count(self) -> int:
        """Abnormal prompts."""
        return len(self.abnormal.own)


def constant_bank(backbone: Backbone, patches: Tensor) -> Pair:
    """K and V of the described states are constants of each block."""
    method: Any = build("dive", backbone)
    layer: DescriptionAttention = next(iter(method.injections().values()))
    nn.init.normal_(layer.output.weight, std=0.1)
    projection, bank = method.bank_projection, method.bank
    naive = Lambda(lambda x: layer(x, projection(bank)), layer, projection)
    ours = layer.bake(projection(bank))
    return Pair("K and V of the bank as constants", naive, ours, patches, len(method.injections()))
