"""The deployment graph: a baked detector with everything but the resize around it.

The graph takes the picture as OpenCV gives it, so that no runtime can get the cast, the colour
order or the normalisation wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zsad.manifest import TensorSpec
from zsad.preprocess import PreprocessSpec
from zsad_export.graph_names import BATCH, INPUT, OUTPUTS, GraphPrecision


class DeploymentGraph(nn.Module):
    """What is exported: `image` (N, H, W, 3) uint8 BGR to score, anomaly map and score logit.

    The normalisation is done in float32 and rounded once, so that a half-precision graph starts
    from the nearest half-precision pixels.
    """

    rgb_from_bgr: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, baked: nn.Module, spec: PreprocessSpec, precision: GraphPrecision) -> None:
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

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score (N,), anomaly_map (N, H, W) and score_logit (N,), all float32.

        Args:
            image: (N, H, W, 3) uint8 BGR at the model's size.
        """
        # TensorRT-RTX refuses any operator but a cast on uint8, so the colours turn after it.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2)  # (N, 3, H, W), BGR
        rgb = pixels.index_select(1, self.rgb_from_bgr)
        normalised = rgb * self.scale + self.offset
        if self.precision == "fp16":
            normalised = normalised.half()
        score, anomaly_map, score_logit = self.detector(normalised)
        return score.float(), anomaly_map.float(), score_logit.float()


def input_specs(spec: PreprocessSpec) -> tuple[TensorSpec, ...]:
    """Return what every graph takes, for the manifest."""
    return (TensorSpec(INPUT, (BATCH, spec.height, spec.width, 3), "uint8"),)


def output_specs(spec: PreprocessSpec) -> tuple[TensorSpec, ...]:
    """Return what every graph gives, for the manifest."""
    shapes = ((BATCH,), (BATCH, spec.height, spec.width), (BATCH,))
    pairs = zip(OUTPUTS, shapes, strict=True)
    return tuple(TensorSpec(name, shape, "float32") for name, shape in pairs)
