"""The deployment graph: a baked detector with everything but the resize around it.

The graph takes the picture as OpenCV gives it, so that no runtime can get the cast, the colour
order or the normalisation wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zsad.manifest import TensorSpec
from zsad.preprocess import PreprocessSpec
from zsad.text_table import TEXT_TABLE
from zsad.types import Array
from zsad_export.graph_names import (
    BATCH,
    INPUT,
    OUTPUTS,
    ROWS,
    TYPE_OUTPUTS,
    TYPES,
    FloatPrecision,
)


class DeploymentGraph(nn.Module):
    """What is exported: `image` (N, H, W, 3) uint8 BGR to score, anomaly map and score logit.

    Where the text is an input, that is `text_table` (1 + K, D) float32, and maps and scores per
    type are outputs too.

    The normalisation is done in float32 and rounded once, so that a half-precision graph starts
    from the nearest half-precision pixels.
    """

    rgb_from_bgr: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, baked: nn.Module, spec: PreprocessSpec, precision: FloatPrecision) -> None:
        """Take over `baked`: a half-precision graph converts its parameters in place.

        Args:
            baked: Normalised RGB images (B, 3, H, W) to score (B,), anomaly_map (B, H, W) and
                score_logit (B,), as `Method.bake()` returns it.
            spec: Size, mean and standard deviation.
            precision: What the detector computes in; its similarity head stays in float32.
        """
        super().__init__()
        self.precision = precision
        self.detector = baked.half() if precision == "fp16" else baked.float()
        self.requires_grad_(False).eval()
        mean = torch.tensor(spec.mean, dtype=torch.float64)
        std = torch.tensor(spec.std, dtype=torch.float64)
        self.register_buffer("rgb_from_bgr", torch.tensor([2, 1, 0]), persistent=False)
        self._constant("scale", 1.0 / (255.0 * std))
        self._constant("offset", -mean / std)

    def _constant(self, name: str, per_channel: Tensor) -> None:
        self.register_buffer(name, per_channel.float().view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, text_table: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return score (N,), anomaly_map (N, H, W) and score_logit (N,), all float32.

        With a table, type_map (N, K, H, W) and type_score (N, K) follow.

        Args:
            image: (N, H, W, 3) uint8 BGR at the model's size.
            text_table: (1 + K, D) float32, where the text is an input.
        """
        # TensorRT-RTX refuses any operator but a cast on uint8, so the colours turn after it.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2)  # (N, 3, H, W), BGR
        rgb = pixels.index_select(1, self.rgb_from_bgr)
        normalised = rgb * self.scale + self.offset
        if self.precision == "fp16":
            normalised = normalised.half()
        text = () if text_table is None else (text_table,)
        return tuple(output.float() for output in self.detector(normalised, *text))


def table_width(constants: Mapping[str, Array]) -> int | None:
    """Return the columns D of the text table among what a graph takes beside images, if any."""
    return constants[TEXT_TABLE].shape[1] if TEXT_TABLE in constants else None


def input_specs(image_hw: tuple[int, int], table_width: int | None) -> tuple[TensorSpec, ...]:
    """Return what a graph takes; `table_width` is D where text is an input."""
    image = TensorSpec(INPUT, (BATCH, *image_hw, 3), "uint8")
    if table_width is None:
        return (image,)
    return image, TensorSpec(TEXT_TABLE, (ROWS, table_width), "float32")


def output_specs(image_hw: tuple[int, int], table_width: int | None) -> tuple[TensorSpec, ...]:
    """Return what a graph gives; `table_width` is D where text is an input."""
    shapes: list[tuple[int | str, ...]] = [(BATCH,), (BATCH, *image_hw), (BATCH,)]
    names: tuple[str, ...] = OUTPUTS
    if table_width is not None:
        shapes += [(BATCH, TYPES, *image_hw), (BATCH, TYPES)]
        names += TYPE_OUTPUTS
    pairs = zip(names, shapes, strict=True)
    return tuple(TensorSpec(name, shape, "float32") for name, shape in pairs)
