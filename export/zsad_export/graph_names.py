"""Names of the graph contract, for code that must not import torch."""

from __future__ import annotations

from typing import Literal

INPUT = "image"
OUTPUTS = ("score", "anomaly_map", "score_logit")
BATCH = "N"

GraphPrecision = Literal["fp32", "fp16"]
