"""What is kept of every epoch: its losses, and where training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsad.errors import InputError
from zsad.schema import from_json


@dataclass(frozen=True)
class EpochRecord:
    """One row of the learning curves.

    Attributes:
        epoch: 1-based.
        loss: Mean over the epoch's images of every weighted term, and their `total`.
        val: Metrics on the validation data, empty without any.
        seconds: Duration, validation included.
    """

    epoch: int
    loss: Mapping[str, float]
    val: Mapping[str, float]
    seconds: float


def ignore(record: EpochRecord) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, as its checkpoint carries it.

    Attributes:
        records: The epochs done.
        optimizer: State of the optimiser, None before the first epoch.
    """

    records: tuple[EpochRecord, ...] = ()
    optimizer: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, training: Mapping[str, Any], where: str) -> Progress:
        """Read it back from a checkpoint's `training`; `where` names the file in errors.

        Raises:
            InputError: The checkpoint was not left by a training run.
        """
        if "optimizer" not in training or "records" not in training:
            raise InputError(f"{where} holds no training state: it cannot be resumed")
        records = from_json(tuple[EpochRecord, ...], training["records"], f"{where}: records")
        return cls(records, training["optimizer"])


def curves_path(out: Path) -> Path:
    """Return where the learning curves of the checkpoint `out` are."""
    return out.with_suffix(".curves.json")
