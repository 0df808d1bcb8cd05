"""CLIP's vision transformers by their sizes: what they compute and weigh, by formula."""

from __future__ import annotations

from dataclasses import dataclass

from zsad.errors import InputError
from zsad.plan.products import Product


@dataclass(frozen=True)
class VisionShape:
    """The sizes of a vision transformer, as open_clip's model configs give them.

    Attributes:
        image_px: Side of the image that it was trained for.
        patch_px: Side of a patch.
        width: Numbers per token.
        layers: Blocks.
        heads: Heads of the attention.
        mlp_width: Numbers per token between the two layers of an MLP.
        embed_dim: Numbers per token in the space that images and text share.
    """

    name: str
    image_px: int
    patch_px: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    embed_dim: int

    def tokens(self, image_px: int) -> int:
        """Return the patches of a square image, and one for the class.

        Raises:
            InputError: A patch does not fit into the image.
        """
        side = image_px // self.patch_px
        if side < 1:
            raise InputError(f"{self.name} needs at least {self.patch_px} px, found {image_px}")
        return side * side + 1

    def products(
        self, image_px: int, batch: int = 1, vv_from_block: int | None = None
    ) -> tuple[Product, ...]:
        """Return every matrix product of one run: patches, blocks, projection of all tokens.

        Args:
            image_px: Side of the image.
            batch: Images of a run.
            vv_from_block: The first block, from 0, with a V-V stream beside the ordinary one: it
                shares V, and adds an output projection and an attention, but no MLP.

        Raises:
            InputError: A patch does not fit into the image, or there is no such block.
        """
        if vv_from_block is not None and not 0 <= vv_from_block < self.layers:
            raise InputError(
                f"{self.name} has blocks 0 to {self.layers - 1}, not {vv_from_block}: give another"
                " --vv-from-block"
            )
        tokens, width = self.tokens(image_px), self.width
        rows, head = batch * tokens, width // self.heads
        attention = (
            Product(tokens, head, tokens, batch * self.heads, constant=False),
            Product(tokens, tokens, head, batch * self.heads, constant=False),
        )
        output = Product(rows, width, width)
        block = (
            Product(rows, width, 3 * width),
            *attention,
            output,
            Product(rows, width, self.mlp_width),
            Product(rows, self.mlp_width, width),
        )
        extra = 0 if vv_from_block is None else self.layers - vv_from_block
        return (
            Product(batch * (tokens - 1), 3 * self.patch_px**2, width),
            *block * self.layers,
            *(*attention, output) * extra,
            Product(rows, width, self.embed_dim),
        )

    def parameters(self, image_px: int) -> int:
        """Return the number of weights, with a position table of this image size."""
        width, mlp = self.width, self.mlp_width
        linears = 4 * width * (width + 1) + 2 * width * mlp + mlp + width
        norms = 2 * 2 * width
        patches = 3 * self.patch_px**2 * width
        # The class token, and the norms before and after the blocks.
        rest = width + 2 * 2 * width
        positions = self.tokens(image_px) * width
        blocks = self.layers * (linears + norms)
        return blocks + patches + positions + rest + width * self.embed_dim


SHAPES = {
    shape.name: shape
    for shape in (
        VisionShape("ViT-B-32", 224, 32, 768, 12, 12, 3072, 512),
        VisionShape("ViT-B-16", 224, 16, 768, 12, 12, 3072, 512),
        VisionShape("ViT-L-14", 224, 14, 1024, 24, 16, 4096, 768),
        VisionShape("ViT-L-14-336", 336, 14, 1024, 24, 16, 4096, 768),
        VisionShape("ViT-H-14", 224, 14, 1280, 32, 16, 5120, 1024),
        VisionShape("ViT-g-14", 224, 14, 1408, 40, 16, 6144, 1024),
        VisionShape("ViT-bigG-14", 224, 14, 1664, 48, 16, 8192, 1280),
    )
}
"""The transformers that are planned for, by their open_clip names."""


def vision_shape(backbone: str) -> VisionShape:
    """Return the sizes of an open_clip name; its `-quickgelu` variants are as large.

    Raises:
        InputError: The name is not among `SHAPES`.
    """
    name = backbone.removesuffix("-quickgelu")
    if name not in SHAPES:
        raise InputError(
            f"no sizes are known of backbone '{backbone}': choose one of {', '.join(SHAPES)}, or "
            "give an artifact, whose graph is counted"
        )
    return SHAPES[name]
