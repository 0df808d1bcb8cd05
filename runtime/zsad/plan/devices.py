"""Boards and GPUs that a line may have, with rates that a dense network can use.

What is advertised for a Jetson is the rate of sparse matrices and counts its DLA; neither helps a
vision transformer. The figures here are dense and of the GPU alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from zsad.errors import InputError


@dataclass(frozen=True)
class Device:
    """A board or a GPU.

    Attributes:
        title: What it is, with the clock that the rates hold for.
        fp16_tflops: Dense FP16 matrix products, 10^12 operations per second.
        int8_tops: Dense INT8 matrix products, likewise.
        memory_gb: In 10^9 bytes; on a Jetson GPU and system share it.
        reserved_gb: Assumed taken by others: on a Jetson the system without a desktop, a camera,
            Python and the CUDA context; elsewhere the context.
        source: Where the rates come from.
    """

    name: str
    title: str
    fp16_tflops: float
    int8_tops: float
    memory_gb: float
    reserved_gb: float
    source: str


_BRIEF = (
    "NVIDIA's brief of AGX Orin: 170 sparse INT8 TOPS of the GPU's 64 tensor cores, halved for "
    "dense; the 512 operations per clock and core that follow, at this board's cores and clock"
)
_JETSON_GB, _CONTEXT_GB = 2.5, 1.0

DEVICES = {
    device.name: device
    for device in (
        Device(
            "orin-nano",
            "Jetson Orin Nano 8 GB, 625 MHz",
            10.2, 20.5, 8, _JETSON_GB, _BRIEF,
        ),
        Device(
            "orin-nano-super",
            "Jetson Orin Nano Super 8 GB, 1020 MHz",
            16.7, 33.4, 8, _JETSON_GB, _BRIEF,
        ),
        Device("orin-nx", "Jetson Orin NX 16 GB, 918 MHz", 15.0, 30.1, 16, _JETSON_GB, _BRIEF),
        Device("agx-orin", "Jetson AGX Orin 64 GB, 1.3 GHz", 42.5, 85, 64, _JETSON_GB, _BRIEF),
        Device(
            "thor",
            "Jetson Thor T5000",
            258, 517, 128, _JETSON_GB,
            "2070 advertised sparse FP4 TFLOPS halved three times; INT8 assumed as fast as FP8",
        ),
        Device("l4", "NVIDIA L4", 121, 242, 24, _CONTEXT_GB, "datasheet"),
        Device("rtx-4090", "GeForce RTX 4090", 165, 661, 24, _CONTEXT_GB, "FP32 accumulation"),
        Device("h100", "NVIDIA H100 SXM", 989, 1979, 80, _CONTEXT_GB, "datasheet"),
    )
}  # fmt: skip
"""The devices, by the names that `zsad-plan --device` takes."""

JETSONS = ("orin-nano", "orin-nano-super", "orin-nx", "agx-orin", "thor")


def device_named(name: str) -> Device:
    """Return a device of `DEVICES`.

    Raises:
        InputError: There is none of that name.
    """
    if name not in DEVICES:
        raise InputError(f"unknown device '{name}': choose one of {', '.join(DEVICES)}")
    return DEVICES[name]
