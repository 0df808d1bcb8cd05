"""libcuda as ctypes gives it, for the few questions that `zsad.device` asks."""

from __future__ import annotations


class FakeDriver:
    """The driver of one GPU; `status` is what every call about it answers first."""

    def __init__(self, name="Orin", sm=87, status=0):
        self.name, self.sm, self.status = name, sm, status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGet(self, device, index):
        return 0

    def cuDeviceGetName(self, buffer, size, device):
        buffer.value = self.name.encode()
        return 0

    def cuDeviceGetAttribute(self, value, which, device):
        value._obj.value = {75: self.sm // 10, 76: self.sm % 10}[which]
        return 0
