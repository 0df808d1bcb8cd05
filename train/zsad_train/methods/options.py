"""What the options of several methods have in common: their checks, and rules for any depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zsad.errors import InputError


def check_positive(method: str, config: Any, names: Sequence[str]) -> None:
    """Refuse options of `config`, by field name, that are given and not above 0.

    Raises:
        InputError: One is 0 or less.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value <= 0:
            raise InputError(f"{method}: {name} must be positive, found {value}")


def check_not_negative(method: str, config: Any, names: Sequence[str]) -> None:
    """Refuse options of `config`, by field name, that are below 0.

    Raises:
        InputError: One is negative.
    """
    for name in names:
        if getattr(config, name) < 0:
            raise InputError(
                f"{method}: {name} must not be negative, found {getattr(config, name)}"
            )


def check_share(method: str, config: Any, names: Sequence[str]) -> None:
    """Refuse options of `config`, by field name, that are not in 0..1.

    Raises:
        InputError: One is not.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise InputError(f"{method}: {name} {value} is not in 0..1")


def check_choice(method: str, config: Any, name: str, known: Sequence[str]) -> None:
    """Refuse an option of `config` that is not one of the `known` words.

    Raises:
        InputError: It is another.
    """
    value = getattr(config, name)
    if value not in known:
        raise InputError(f"{method}: {name} '{value}' is not one of {', '.join(known)}")


def prompting_depth(method: str, text_depth: int | None, blocks: int) -> int:
    """Return how many of a text tower's `blocks` get learned tokens, the context being the first.

    Args:
        method: Named in the error.
        text_depth: The option; None is three quarters, the 9 of 12 of MaPLe and AnomalyCLIP.
        blocks: Blocks of the text tower.

    Raises:
        InputError: The option was given and is not in 1..blocks.
    """
    depth = max(1, round(0.75 * blocks)) if text_depth is None else text_depth
    if not 1 <= depth <= blocks:
        raise InputError(f"{method}: text_depth {depth} is not in 1..{blocks}, the text blocks")
    return depth


def quarter_ends(depth: int) -> tuple[int, ...]:
    """Return the last block of each quarter of `depth` blocks: 5, 11, 17 and 23 of ViT-L's 24.

    The family's taps, and the first of them its first block of V-V attention, at any depth.
    """
    return tuple(sorted({max(0, depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4)}))
