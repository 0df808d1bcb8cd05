"""What computes in which precision: autocast, and constants that stay exact in a half model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from zsad_train.config import Amp

Self = TypeVar("Self", bound="KeepsFloat32")


def autocast(device: torch.device, amp: Amp) -> torch.autocast:
    """Return the context that training computes in, on `device`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp == "bf16")


class KeepsFloat32(nn.Module):
    """A module whose own buffers follow the device, never the dtype: `.half()` rounds none."""

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            setattr(self, name, buffer.to(self.get_buffer(name).device))
        return self
