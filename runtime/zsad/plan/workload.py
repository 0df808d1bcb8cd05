"""What is to be run: its matrix products and its weights, whoever counted them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsad.artifact import Artifact
from zsad.plan.products import Product, graph_products
from zsad.plan.vit import VisionShape
from zsad.text_table import constant_inputs

PlannedPrecision = Literal["fp16", "int8"]
"""FP32 is not among them: no figure of a vision transformer in FP32 on these GPUs was found."""

PLANNED_PRECISIONS: tuple[PlannedPrecision, ...] = ("fp16", "int8")

_WEIGHT_BYTES = {"fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Workload:
    """One model at one image size and batch.

    Attributes:
        name: The backbone or the artifact.
        image_px: Rows and columns of the image.
        products: Every matrix product of one run.
        parameters: Weights and constants.
    """

    name: str
    image_px: tuple[int, int]
    products: tuple[Product, ...]
    parameters: int

    @property
    def linear_flop(self) -> int:
        """Operations of layers with weights: those that INT8 speeds up."""
        return sum(product.flop for product in self.products if product.constant)

    @property
    def attention_flop(self) -> int:
        """Operations of products of activations, which stay in FP16 beside INT8 layers."""
        return sum(product.flop for product in self.products if not product.constant)

    @property
    def flop(self) -> int:
        """Operations of one run."""
        return self.linear_flop + self.attention_flop

    def weight_bytes(self, precision: PlannedPrecision) -> int:
        """Return the size of an engine's weights."""
        return self.parameters * _WEIGHT_BYTES[precision]

    @property
    def activation_bytes(self) -> int:
        """Twice what the largest product reads and writes in FP16, as if nothing were fused."""
        sizes = (p.times * (p.rows * (p.inner + p.columns)) for p in self.products)
        return 2 * 2 * max(sizes, default=0)


def backbone_workload(
    shape: VisionShape, image_px: int, batch: int = 1, vv_from_block: int | None = None
) -> Workload:
    """Return the vision tower alone; what a method adds is counted only in an artifact."""
    return Workload(
        name=shape.name,
        image_px=(image_px, image_px),
        products=shape.products(image_px, batch, vv_from_block),
        parameters=shape.parameters(image_px),
    )


def artifact_workload(artifact: Artifact, batch: int = 1) -> Workload:
    """Return an artifact's graph, run once on this machine's CPU to be counted.

    The text that it bakes, the method's own layers and its map are in it.
    """
    spec, graphs = artifact.manifest.preprocess, artifact.manifest.graphs
    # All precisions of an artifact compute the same; FP32 is the one a CPU runs fastest.
    precision = "fp32" if "fp32" in graphs else artifact.manifest.default_precision
    graph = artifact.graph(precision)
    files = [graph.file, *([graph.data] if graph.data else [])]
    size = sum(artifact.file(name).stat().st_size for name in files)
    images = np.zeros((batch, spec.height, spec.width, 3), np.uint8)
    feeds = {"image": images, **constant_inputs(artifact)}
    return Workload(
        name=artifact.path.resolve().name,
        image_px=(spec.height, spec.width),
        products=graph_products(artifact.file(graph.file), feeds),
        parameters=size // (4 if precision == "fp32" else 2),
    )
