"""Names of the graph contract, for code that must not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

INPUT = "image"
OUTPUTS = ("score", "anomaly_map", "score_logit")
BATCH = "N"

TYPE_OUTPUTS = ("type_map", "type_score")
"""What a graph gives beside `OUTPUTS` where its text is an input, `zsad.text_table.TEXT_TABLE`."""

TYPES, ROWS = "K", "1+K"
"""Defect types, and the rows of the text table."""

FloatPrecision = Literal["fp32", "fp16"]
"""What PyTorch writes a graph in."""

GraphPrecision = Literal["fp32", "fp16", "int8", "int8_fp16"]
"""`int8` is for CPUs, with float32 around its linears; `int8_fp16`, with float16, for GPUs."""

FLOAT_OF: Mapping[GraphPrecision, FloatPrecision] = MappingProxyType(
    {"fp32": "fp32", "fp16": "fp16", "int8": "fp32", "int8_fp16": "fp16"}
)
"""The graph that each is made from."""

HALF: frozenset[GraphPrecision] = frozenset({"fp16", "int8_fp16"})
INT8: frozenset[GraphPrecision] = frozenset({"int8", "int8_fp16"})
