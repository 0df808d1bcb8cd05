"""Metrics on numpy arrays, exact with ties, and their bootstrap intervals. Free of torch."""

from zsad.metrics.agreement import Flips, flip_bound, flips_at, kendall_tau, verdict_flips
from zsad.metrics.bootstrap import Interval, bootstrap_interval
from zsad.metrics.curve import Curve
from zsad.metrics.pro import aupro, pro_curve
from zsad.metrics.ranking import (
    F1Max,
    PixelRanking,
    auroc,
    average_precision,
    f1_max,
    pixel_ap,
    pixel_auroc,
    pixel_f1_max,
    pixel_ranking,
    roc_curve,
)
from zsad.metrics.rcpro import rcpro, rcpro_curve

__all__ = [
    "Curve",
    "F1Max",
    "Flips",
    "Interval",
    "PixelRanking",
    "aupro",
    "auroc",
    "average_precision",
    "bootstrap_interval",
    "f1_max",
    "flip_bound",
    "flips_at",
    "kendall_tau",
    "pixel_ap",
    "pixel_auroc",
    "pixel_f1_max",
    "pixel_ranking",
    "pro_curve",
    "rcpro",
    "rcpro_curve",
    "roc_curve",
    "verdict_flips",
]
