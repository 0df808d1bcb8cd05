"""Predicted latency and memory. Nothing here is measured on the device that is asked about.

A run is taken to reach the share of the GPU's dense rate that published runs reached: their
geometric mean. The band comes from leaving each published figure out in turn and predicting it from
the others: it reaches from the best surprise to the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsad.plan.devices import Device
from zsad.plan.published import ANCHORS, Anchor
from zsad.plan.workload import PlannedPrecision, Workload

BUILD_FACTOR = 6.9
"""Peak memory of building an engine over its weights: 4.2 GB for the 609 MB of ViT-L/14 in FP16,
measured with TensorRT-RTX 1.7 for three targets at once."""

Takt = Literal["fits", "likely", "unlikely", "does not fit"]


@dataclass(frozen=True)
class Efficiency:
    """The share of a GPU's dense rate that published runs of a precision reached.

    Attributes:
        share: Geometric mean.
        fastest, slowest: Time over predicted time of the published figures that lie farthest off,
            each predicted from the others.
        figures: How many there are.
    """

    share: float
    fastest: float
    slowest: float
    figures: int


@dataclass(frozen=True)
class Prediction:
    """What a workload may take on a device.

    Attributes:
        gflop: Arithmetic of one run, counted.
        roof_ms: Its time at the device's full dense rate: no run is faster.
        ms: Predicted time of one run, inference alone.
        low_ms, high_ms: Its band.
        memory_gb: Weights, activations and what others are assumed to take, in 10^9 bytes.
        build_gb: What building the engine on the device may take, with the same others.
        fits_memory, builds: Whether the device has so much.
    """

    device: str
    workload: str
    image_px: tuple[int, int]
    precision: PlannedPrecision
    gflop: float
    roof_ms: float
    ms: float
    low_ms: float
    high_ms: float
    memory_gb: float
    build_gb: float
    fits_memory: bool
    builds: bool

    def takt(self, takt_ms: float) -> Takt:
        """Return whether a run ends within `takt_ms`: surely, likely, unlikely, or not at all."""
        if not self.fits_memory or self.low_ms > takt_ms:
            return "does not fit"
        if self.high_ms <= takt_ms:
            return "fits"
        return "likely" if self.ms <= takt_ms else "unlikely"


def predict(workload: Workload, device: Device, precision: PlannedPrecision) -> Prediction:
    """Predict one run of `workload` on `device`."""
    reached = efficiency(precision)
    floor = roof_ms(workload, (device.fp16_tflops, device.int8_tops), precision)
    middle = floor / reached.share
    weights = workload.weight_bytes(precision) / 1e9
    memory = weights + workload.activation_bytes / 1e9 + device.reserved_gb
    build = BUILD_FACTOR * workload.weight_bytes("fp16") / 1e9 + device.reserved_gb
    return Prediction(
        device=device.name,
        workload=workload.name,
        image_px=workload.image_px,
        precision=precision,
        gflop=workload.flop / 1e9,
        roof_ms=floor,
        ms=middle,
        low_ms=max(middle * reached.fastest, floor),
        high_ms=middle * reached.slowest,
        memory_gb=memory,
        build_gb=build,
        fits_memory=memory <= device.memory_gb,
        builds=build <= device.memory_gb,
    )


def efficiency(precision: PlannedPrecision, anchors: Sequence[Anchor] = ANCHORS) -> Efficiency:
    """Return what published runs of a precision reached, and how well they predict each other."""
    logs = np.log([reached(a) for a in anchors if a.precision == precision])
    others = (logs.sum() - logs) / (len(logs) - 1)  # mean without each in turn
    surprises = np.exp(others - logs)  # its time over the time predicted for it
    return Efficiency(
        share=float(np.exp(logs.mean())),
        fastest=float(surprises.min()),
        slowest=float(surprises.max()),
        figures=len(logs),
    )


def reached(anchor: Anchor) -> float:
    """Return the share of the GPU's dense rate that a published run reached."""
    return roof_ms(anchor.workload, anchor.rates, anchor.precision) / anchor.ms


def roof_ms(workload: Workload, rates: tuple[float, float], precision: PlannedPrecision) -> float:
    """Return the milliseconds of a run at full dense rates, FP16 TFLOPS and INT8 TOPS.

    With INT8, attention stays in FP16.
    """
    half, quantised = (rate * 1e9 for rate in rates)  # operations per millisecond
    layers = half if precision == "fp16" else quantised
    return workload.linear_flop / layers + workload.attention_flop / half
