"""What an engine computes in, where that is not what its graph says.

A threshold holds for the numbers it was taken from. An engine that rounds more than the graph asks
for gives other numbers from the same file, so it counts as something else to calibrate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Arithmetic = Literal["bf16", "tf32"]
"""What the graph has in float32 is multiplied in bfloat16, 8 bits of mantissa, or TF32, 11 bits."""

ARITHMETIC: Mapping[str, Arithmetic] = {
    "openvino-bf16": "bf16",
    "tensorrt-tf32": "tf32",
    "tensorrt-rtx-tf32": "tf32",
}
"""By backend. One that is not here computes what the graph says; what is left is rounding that the
parity limits cover."""
