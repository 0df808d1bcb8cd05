"""What zsad-export asks for, checked before torch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zsad.errors import InputError
from zsad_train.methods import UNTRAINED

if TYPE_CHECKING:
    from zsad.data import Dataset


def check_targets(sms: tuple[int, ...]) -> None:
    """Refuse compute capabilities that the compiler here cannot build for.

    Raises:
        InputError: It does not know one of them.
        MissingExtraError: There is no compiler.
    """
    from zsad.tensorrt_package import RTX
    from zsad_export.tensorrt_api import Compiler

    Compiler(RTX).architectures(sms)


def open_gate_data(spec: str | None, limit: int | None) -> Dataset | None:
    """Return the labelled images of the gate, None where none are named.

    Raises:
        InputError: They cannot be read, or a limit stands alone.
    """
    if spec is None:
        if limit is not None:
            raise InputError("--gate-limit goes with --gate-data: name the labelled images too")
        return None
    from zsad.data import open_dataset

    return open_dataset(spec, limit=limit)


def check_subject(
    ckpt: Path | None, method: str | None, backbone: str | None, thing: str | None
) -> None:
    """Refuse options that name no subject, or more than one.

    Raises:
        InputError: They contradict each other, or the method must be trained first.
    """
    if ckpt is None:
        _check_untrained(method)
        return
    if method in UNTRAINED:
        raise InputError(f"{method} needs no training: give either --ckpt or --method {method}")
    if thing is not None:
        raise InputError(
            f"--object goes with --method {' or '.join(UNTRAINED)}, and no --ckpt: leave it out"
        )
    if backbone is not None and method is None:
        raise InputError("--backbone goes with --method: a checkpoint has its own, leave it out")
    if not ckpt.is_file():
        raise InputError(f"checkpoint not found: {ckpt}: give --ckpt a file that zsad-train wrote")


def _check_untrained(method: str | None) -> None:
    if method is None:
        raise InputError(
            "give either --ckpt, a file that zsad-train wrote, or --method, one that needs no "
            f"training: {', '.join(UNTRAINED)}"
        )
    if method not in UNTRAINED:
        raise InputError(
            f"{method} is trained: give --ckpt what zsad-train --method {method} or its authors' "
            "code wrote"
        )


def check_calibration(
    int8: str | None, calib: str | None, frames: int | None, sensitivity: bool
) -> None:
    """Refuse options of INT8 graphs where none is asked for.

    Raises:
        InputError: One stands without --int8.
    """
    given = {"--calib": calib, "--calib-frames": frames, "--sensitivity": sensitivity or None}
    alone = [name for name, value in given.items() if value is not None]
    if int8 is None and alone:
        raise InputError(f"{alone[0]} goes with --int8: add it, or leave {alone[0]} out")
