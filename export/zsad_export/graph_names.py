"""Names of the graph contract, for code that must not import torch."""

from __future__ import annotations

from typing import Literal

INPUT = "image"
OUTPUTS = ("score", "anomaly_map", "score_logit")
BATCH = "N"

TYPE_OUTPUTS = ("type_map", "type_score")
"""What a graph gives beside `OUTPUTS` where its text is an input, `zsad.text_table.TEXT_TABLE`."""

TYPES, ROWS = "K", "1+K"
"""Defect types, and the rows of the text table."""

GraphPrecision = Literal["fp32", "fp16"]
