"""How an engine uses the processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threads:
    """The threads of a CPU engine.

    Attributes:
        count: How many; None leaves the number to the engine.
        spin: Whether ONNX Runtime's wait for the next operator of a run without giving up their
            core. That is faster where nothing else wants the cores, and slower where something does
            (docs/cpu.md). No other engine has the choice.
    """

    count: int | None = None
    spin: bool = True

    @classmethod
    def of(cls, threads: int | Threads | None) -> Threads:
        """Return `threads`, where a bare number is how many."""
        return threads if isinstance(threads, Threads) else cls(threads)


DEFAULT_THREADS = Threads()
"""As the engine likes."""
