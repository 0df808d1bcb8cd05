"""What an engine may differ by from the reference, before it is ruled out."""

from __future__ import annotations

from zsad.arithmetic import Arithmetic
from zsad.manifest import Manifest, Precision
from zsad.parity import LIMITS, ParityLimits

LOSS_MARGIN = 1.25
"""What an export was let through with, times this, is no breach: other engines round otherwise."""

_REDUCED: dict[Arithmetic, ParityLimits] = {
    "tf32": LIMITS["fp16"],  # as many bits of mantissa
    "bf16": ParityLimits(score_max_abs=0.1, map_max_abs=0.3, map_correlation=0.9, map_varies=0.2),
}
"""At the least, where an engine rounds more than its graph says. That of bfloat16 tells another
result from rounding, as `zsad.backends.reduced` does, and is no promise of accuracy."""


def limits_for(
    manifest: Manifest, precision: Precision, arithmetic: Arithmetic | None = None
) -> ParityLimits:
    """Return what an engine may differ by from the reference.

    They are those of the precision, wider where the engine's arithmetic is coarser than the graph
    says or where the export was let through over them (`--allow-parity-loss`).
    """
    limits = LIMITS[precision]
    if arithmetic is not None:
        limits = _wider(limits, _REDUCED[arithmetic])
    record = manifest.parity.get(precision)
    if record is None:
        return limits
    correlation = (
        limits.map_correlation if record.map_correlation is None else record.map_correlation
    )
    recorded = ParityLimits(
        LOSS_MARGIN * record.score_max_abs,
        LOSS_MARGIN * record.map_max_abs,
        1.0 - LOSS_MARGIN * (1.0 - correlation),
        limits.varies_above,
    )
    return _wider(limits, recorded)


def _wider(a: ParityLimits, b: ParityLimits) -> ParityLimits:
    return ParityLimits(
        max(a.score_max_abs, b.score_max_abs),
        max(a.map_max_abs, b.map_max_abs),
        min(a.map_correlation, b.map_correlation),
        max(a.varies_above, b.varies_above),
    )
