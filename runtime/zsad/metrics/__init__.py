"""Metrics on numpy arrays, exact with ties, and their bootstrap intervals. Free of torch."""

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
    "Interval",
    "PixelRanking",
    "aupro",
    "auroc",
    "average_precision",
    "bootstrap_interval",
    "f1_max",
    "pixel_ap",
    "pixel_auroc",
    "pixel_f1_max",
    "pixel_ranking",
    "pro_curve",
    "rcpro",
    "rcpro_curve",
    "roc_curve",
]
