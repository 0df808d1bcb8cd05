"""Where a source stands, kept by its capture thread and read by everybody else."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause, Counts, SourceHealth, SourceState
from zsad.sources.stream import Backing, Stream

LOG = logging.getLogger(__name__)

_KEPT_TRANSITIONS = 64
_FRAMES_FOR_A_RATE = 10
_ON_DEMAND_HZ = 25.0


@dataclass(frozen=True)
class Transition:
    """One change of state: when, by the monotonic clock, and why."""

    at_s: float
    state: SourceState
    cause: Cause | None
    detail: str


@dataclass(frozen=True)
class Silence:
    """Why an open source counts as silent."""

    cause: Cause
    detail: str


class Standing:
    """The state of one source and how it came to it; safe between threads."""

    def __init__(self, config: CameraConfig, now_s: float) -> None:
        """Begin with a source that was never opened."""
        self._config = config
        self._lock = threading.Lock()
        self._state = SourceState.CONNECTING
        self._cause: Cause | None = None
        self._detail = ""
        self._transitions: deque[Transition] = deque(maxlen=_KEPT_TRANSITIONS)
        self._backing: Backing | None = None
        self._size_wh: tuple[int, int] | None = None
        self._look: str | None = None  # size and decoder of the last frames, over connections
        self._connections = 0
        self._open = self._paced = False
        self._claimed_hz: float | None = None
        self._opened_s = now_s
        self._last_good_s: float | None = None
        self._good = self._bad = 0  # since it was opened; since the last good frame

    @property
    def state(self) -> SourceState:
        """The state, as the capture thread last saw it."""
        with self._lock:
            return self._state

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The last changes of state, oldest first."""
        with self._lock:
            return tuple(self._transitions)

    def opened(self, stream: Stream, now_s: float) -> None:
        """Take note of a new connection."""
        with self._lock:
            self._backing, self._size_wh = stream.backing, None
            self._paced, self._claimed_hz = stream.paced, stream.rate_hz
            self._opened_s = now_s
            self._connections += 1
            self._open = True
            self._good = self._bad = 0

    def good(self, captured_s: float, size_wh: tuple[int, int] | None) -> None:
        """Take note of a good frame, and of its size where the source has one size."""
        with self._lock:
            self._last_good_s = captured_s
            self._good += 1
            self._bad = 0
            if size_wh is None or size_wh == self._size_wh:
                return
            self._size_wh, line = size_wh, self._opened_as(size_wh)
            decoder = None if self._backing is None else self._backing.decoder
            before, self._look = self._look, f"{size_wh[0]}x{size_wh[1]}, {decoder}"
            is_other = before is not None and before != self._look
        # Another codec's pixels are others too, which recipes are not calibrated for.
        changed = f"its frames were {before}, and now: " if is_other else ""
        LOG.log(
            logging.WARNING if is_other else logging.INFO,
            "camera %s: %s%s",
            self._config.name,
            changed,
            line,
        )

    def bad(self) -> None:
        """Take note of something that could not be decoded."""
        with self._lock:
            self._bad += 1

    def closed(self) -> float:
        """Take note of the connection's end; return for how long it gave frames, in seconds."""
        with self._lock:
            was_open, self._open = self._open, False
            if not (was_open and self._good):
                return 0.0
            return max(0.0, self._last_good() - self._opened_s)

    def silence(self, now_s: float, asked_s: float | None) -> Silence | None:
        """Return why an open source is silent for longer than it may be, or None.

        Args:
            now_s: Seconds of the monotonic clock.
            asked_s: When the trigger that waits longest came; what sends nothing by itself owes
                nothing before it.
        """
        with self._lock:
            return self._silence(now_s, asked_s)

    def health(self, now_s: float, asked_s: float | None, counts: Counts) -> SourceHealth:
        """Return how the source is doing, also while its thread hangs in a read."""
        with self._lock:
            state, cause, detail = self._state, self._cause, self._detail
            silence = self._silence(now_s, asked_s)
            if silence is not None and state in (SourceState.LIVE, SourceState.CONNECTING):
                state, cause, detail = SourceState.STALLED, silence.cause, silence.detail
            return SourceHealth(
                state=state,
                cause=cause,
                detail=detail,
                age_s=None if self._last_good_s is None else max(0.0, now_s - self._last_good_s),
                reconnects=max(0, self._connections - 1),
                counts=counts,
                opened_as=self._opened_as(self._size_wh),
            )

    def connecting(self, now_s: float) -> None:
        """Begin to open it, still for the reason for which it was lost."""
        with self._lock:
            cause, detail = self._cause, self._detail
        self.enter(SourceState.CONNECTING, now_s, cause, detail)

    def enter(
        self,
        state: SourceState,
        now_s: float,
        cause: Cause | None = None,
        detail: str = "",
        note: str = "",
    ) -> None:
        """Change the state and log it; `note` is for the log alone."""
        with self._lock:
            # A source that stays away fails alike for days; the log says it once.
            repeated = any((t.state, t.cause) == (state, cause) for t in self._since_live())
            self._state, self._cause, self._detail = state, cause, detail
            self._transitions.append(Transition(now_s, state, cause, detail))
        bad = state in (SourceState.STALLED, SourceState.BACKING_OFF)
        level = logging.DEBUG if repeated else logging.WARNING if bad else logging.INFO
        words = (f"camera {self._config.name}", state.value, cause and cause.value, detail, note)
        LOG.log(level, "%s", ": ".join(word for word in words if word))

    def _opened_as(self, size_wh: tuple[int, int] | None) -> str | None:
        if self._backing is None:
            return None
        return self._backing.line(size_wh, self._claimed_hz)

    def _last_good(self) -> float:
        return self._opened_s if self._last_good_s is None else self._last_good_s

    def _silence(self, now_s: float, asked_s: float | None) -> Silence | None:
        if not self._open or not (self._paced or asked_s is not None):
            return None
        since_s = max(self._opened_s, self._last_good())
        if not self._paced and asked_s is not None:
            since_s = max(self._opened_s, asked_s)
        # An answer to a trigger is due as if the camera were a quick one.
        rate_hz = self._rate_hz() if self._paced else _ON_DEMAND_HZ
        if now_s - since_s <= self._config.stall_limit_s(rate_hz):
            return None
        if self._bad:
            return Silence(Cause.CODEC, f"none of {self._bad} frames could be decoded")
        return Silence(Cause.NO_DATA, f"no frame for {now_s - since_s:.1f} s")

    def _rate_hz(self) -> float | None:
        """The rate that it claims, or else the one that it kept since it was opened."""
        if self._claimed_hz is not None or self._good < _FRAMES_FOR_A_RATE:
            return self._claimed_hz
        return self._good / max(1e-3, self._last_good() - self._opened_s)

    def _since_live(self) -> list[Transition]:
        recent: list[Transition] = []
        for known in reversed(self._transitions):
            if known.state is SourceState.LIVE:
                break
            recent.append(known)
        return recent
