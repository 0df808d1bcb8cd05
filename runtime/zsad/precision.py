"""The precisions that an artifact's graphs come in. Light: every command's `--help` shows them."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16", "int8", "int8_fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "int8_fp16")
"""`int8` has float32 around its linears, for CPUs; `int8_fp16` has float16, for GPUs."""
