"""Measured latencies of vision transformers under TensorRT that others have published.

They are few, of other GPUs for the most part, and none is of ViT-L on a Jetson: none was found.
Each is a whole run of the vision tower. What share of the GPU's dense rate it reached is what a
prediction goes by.
"""

from __future__ import annotations

from dataclasses import dataclass

from zsad.plan.vit import SHAPES, VisionShape
from zsad.plan.workload import PlannedPrecision, Workload, backbone_workload

_B32, _B16, _L14 = SHAPES["ViT-B-32"], SHAPES["ViT-B-16"], SHAPES["ViT-L-14"]
_L16 = VisionShape("ViT-L/16", 384, 16, 1024, 24, 16, 4096, 768)

_T4, _A100, _ADA, _AGX = (65, 130), (312, 624), (364, 728), (42.5, 85)
"""Dense FP16 TFLOPS and INT8 TOPS of T4, A100, RTX 6000 Ada and AGX Orin."""

_CHINESE_CLIP = "OFA-Sys/Chinese-CLIP deployment_En.md, TensorRT 8.5.2"
_FASTER = "NVIDIA/FasterTransformer docs/vit_guide.md"
_MODELOPT = "NVIDIA/Model-Optimizer issue 167"
_BLOG = "NVIDIA's developer blog, FP8 checkpoints, TensorRT 10.16"
_NANOOWL = "NVIDIA-AI-IOT/nanoowl README"


@dataclass(frozen=True)
class Anchor:
    """One published latency.

    Attributes:
        gpu: The GPU, with its dense rates in `rates`: FP16 TFLOPS and INT8 TOPS.
        batch: Images of a run.
        ms: Milliseconds of a run.
    """

    gpu: str
    rates: tuple[float, float]
    shape: VisionShape
    image_px: int
    precision: PlannedPrecision
    batch: int
    ms: float
    source: str

    @property
    def workload(self) -> Workload:
        """What was run."""
        return backbone_workload(self.shape, self.image_px, self.batch)


ANCHORS = (
    Anchor("T4", _T4, _L14, 224, "fp16", 1, 13.08, _CHINESE_CLIP),
    Anchor("T4", _T4, _L14, 336, "fp16", 1, 31.59, _CHINESE_CLIP),
    Anchor("T4", _T4, _L16, 384, "fp16", 1, 23.45, _FASTER),
    Anchor("T4", _T4, _L16, 384, "fp16", 8, 177.5, _FASTER),
    Anchor("A100", _A100, _L16, 384, "fp16", 1, 5.36, _FASTER),
    Anchor("A100", _A100, _L16, 384, "fp16", 8, 30.95, _FASTER),
    Anchor("A100", _A100, _L16, 384, "fp16", 32, 124.9, _FASTER),
    Anchor("T4", _T4, _L14, 224, "fp16", 8, 65.6, _MODELOPT),
    Anchor("RTX 6000 Ada", _ADA, _L14, 224, "fp16", 128, 166.2, _BLOG),
    Anchor("AGX Orin", _AGX, _B32, 768, "fp16", 1, 1000 / 95, _NANOOWL),
    Anchor("AGX Orin", _AGX, _B16, 768, "fp16", 1, 1000 / 25, _NANOOWL),
    Anchor("T4", _T4, _L16, 384, "int8", 1, 13.10, _FASTER),
    Anchor("T4", _T4, _L16, 384, "int8", 8, 103.7, _FASTER),
    Anchor("A100", _A100, _L16, 384, "int8", 1, 4.77, _FASTER),
    Anchor("A100", _A100, _L16, 384, "int8", 8, 20.25, _FASTER),
    Anchor("A100", _A100, _L16, 384, "int8", 32, 80.05, _FASTER),
    Anchor("T4", _T4, _L14, 224, "int8", 8, 131.8, _MODELOPT),
)
"""INT8 figures of FasterTransformer are of kernels written by hand; Model-Optimizer's is a report
of INT8 that is twice as slow as FP16, which has happened and so belongs here."""
