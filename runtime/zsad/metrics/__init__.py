"""Metrics on numpy arrays, exact with ties, and their bootstrap intervals. Free of torch."""

from zsad.metrics.bootstrap import Interval, bootstrap_interval
from zsad.metrics.ranking import F1Max, auroc, average_precision, f1_max, pixel_ap, pixel_auroc

__all__ = [
    "F1Max",
    "Interval",
    "auroc",
    "average_precision",
    "bootstrap_interval",
    "f1_max",
    "pixel_ap",
    "pixel_auroc",
]
