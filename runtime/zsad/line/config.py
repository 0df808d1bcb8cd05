"""What one line is: the model, its cameras, and how verdicts are reached and told."""

from __future__ import annotations

from dataclasses import dataclass

from zsad.errors import InputError


@dataclass(frozen=True)
class BatchConfig:
    """How frames of several cameras share one run of the graph.

    Attributes:
        max_batch: Frames in one run at most; an engine must have been built for as many.
        max_wait_ms: How long the first frame of a batch waits for others. 0 takes what is there.
    """

    max_batch: int = 4
    max_wait_ms: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 1 <= self.max_batch <= 64:
            raise InputError(f"batch: max_batch {self.max_batch} is not from 1 to 64")
        if not 0 <= self.max_wait_ms <= 1000:
            raise InputError(f"batch: max_wait_ms {self.max_wait_ms} is not from 0 to 1000")
