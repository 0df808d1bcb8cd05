"""A source that comes back: one state machine over whatever the frames come from.

A loop that reads and judges in turn falls behind a camera that is faster than the model, and ends
up judging frames that are many seconds old. So a thread of its own reads without pause, and
whoever judges takes from a `Feed`. Health is the age of the last good frame on the monotonic
clock: what a library says about being connected stays true while nothing comes.
"""

from __future__ import annotations

import logging
import random
import threading
import traceback
from collections.abc import Callable

from zsad.backoff import Backoff
from zsad.credentials import mask_credentials, masked_line
from zsad.sources.address import FINITE, LOSSLESS
from zsad.sources.base import Frame
from zsad.sources.clock import Clock, MonotonicClock
from zsad.sources.config import CameraConfig
from zsad.sources.feed import Feed
from zsad.sources.health import Cause, SourceHealth, SourceState
from zsad.sources.standing import Standing, Transition
from zsad.sources.stream import Opener, Reading, Stream, StreamError, Triggerable
from zsad.sources.trigger import TriggerGate

LOG = logging.getLogger(__name__)

_READ_SLICE_S = 0.25
"""How often a thread that waits for a frame looks whether it should end, where it can."""
_JOIN_S = 2.0


class Camera:
    """One source, opened again for ever, read by a thread of its own.

    Attributes:
        name: Its name in the configuration.
    """

    def __init__(
        self,
        config: CameraConfig,
        opener: Opener,
        on_frame: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        random_numbers: random.Random | None = None,
    ) -> None:
        """Name the source; `start` opens it.

        Args:
            config: How it is reached and which frames are wanted.
            opener: Makes one connection at a time.
            on_frame: Called by the capture thread whenever `take` would give something.
            clock: The monotonic clock, unless a test brings another.
            random_numbers: Where the jitter of the waits comes from, likewise.
        """
        self.name = config.name
        self._opener = opener
        self._finite = config.resolved_kind in FINITE
        self._clock = clock or MonotonicClock()
        self._backoff = Backoff(config.backoff, random_numbers)
        lossless = config.resolved_kind in LOSSLESS
        self._feed = Feed(config.resolved_policy, config.queue, lossless, on_frame)
        delay_s = config.trigger_delay_ms / 1e3
        self._gate = TriggerGate(config.trigger, config.every_n, delay_s)
        self._queue = config.queue
        self._standing = Standing(config, self._clock.now_s())
        self._closing = threading.Event()
        self._stream_lock = threading.Lock()
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the capture thread."""
        assert self._thread is None, "start() was called before"
        self._thread = threading.Thread(
            target=self._capture, name=f"capture {self.name}", daemon=True
        )
        self._thread.start()

    def take(self) -> Frame | None:
        """Return the next frame to judge by the camera's policy, or None; never waits."""
        return self._feed.take()

    def trigger(self, trigger_id: str) -> bool:
        """Ask for one frame that arrives after this call; safe from any thread.

        Where the camera is not fired by it, the frame arrives `trigger_delay_ms` after it at the
        soonest.

        Returns:
            False where none will come: the source is not live, takes no triggers, or has too many
            waiting. A trigger that was taken is given up, with a line in the log, when the source
            is lost before its frame came.
        """
        with self._stream_lock:
            if self._stream is None or self.health.state is not SourceState.LIVE:
                return False
            fired = self._stream if isinstance(self._stream, Triggerable) else None
            # Answers come in order: were one lost, each later one would go to the wrong part.
            limit = self._queue if fired is None else 1
            if not self._gate.trigger(trigger_id, self._clock.now_s(), limit):
                return False
            if fired is not None:
                fired.fire()
            return True

    @property
    def health(self) -> SourceHealth:
        """How the source is doing at this moment, also while its thread hangs in a read."""
        counts = self._feed.counts
        return self._standing.health(self._clock.now_s(), self._gate.oldest_s(), counts)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The last changes of state, oldest first."""
        return self._standing.transitions

    def end(self) -> None:
        """Ask the thread to end, without waiting: with many cameras, first `end` all of them."""
        self._closing.set()
        self._feed.close()
        with self._stream_lock:
            if self._stream is not None:
                self._stream.interrupt()

    def close(self) -> None:
        """End the thread and let go of the source; closing twice does no harm."""
        self.end()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_JOIN_S)
            if thread.is_alive():
                # It ends with the native call's own time-out, or with the process.
                LOG.warning("camera %s: its read does not return; left behind", self.name)
        if self._standing.state is not SourceState.ENDED:
            self._enter(SourceState.ENDED, None, "closed")

    # What follows runs in the capture thread.

    def _capture(self) -> None:
        while not self._closing.is_set():
            error = self._one_connection()
            if self._closing.is_set() or error is None:
                return
            if self._finite and error.cause is Cause.END_OF_FILE:
                self._enter(SourceState.ENDED, error.cause, error.detail)
                return
            wait_s = self._backoff.next_s()
            note = f"next attempt in {wait_s:.1f} s"
            self._enter(SourceState.BACKING_OFF, error.cause, error.detail, note)
            self._clock.wait(self._closing, wait_s)

    def _one_connection(self) -> StreamError | None:
        """Open and read until it is over; return why, or None when asked to close."""
        try:
            self._connect()
            while not self._closing.is_set():
                self._read_once()
        except StreamError as error:
            return self._lost(error)
        except Exception as error:  # nothing may end the thread without a word
            LOG.error("camera %s: %s", self.name, mask_credentials(traceback.format_exc()))
            return self._lost(StreamError(Cause.FAILED, error))
        finally:
            self._disconnect()
        return None

    def _connect(self) -> None:
        self._standing.connecting(self._clock.now_s())
        stream = self._opener.open(self._closing)
        with self._stream_lock:
            self._stream = stream
        self._standing.opened(stream, self._clock.now_s())
        if not stream.paced:
            self._enter(SourceState.LIVE)

    def _read_once(self) -> None:
        assert self._stream is not None
        reading = self._stream.read(_READ_SLICE_S)
        if reading is not None:
            self._receive(reading)
        silence = self._standing.silence(self._clock.now_s(), self._gate.oldest_s())
        if silence is not None:
            raise StreamError(silence.cause, silence.detail)

    def _receive(self, reading: Reading) -> None:
        if reading.image_bgr is None and reading.name is None:
            self._standing.bad()
            if not isinstance(self._stream, Triggerable):
                self._feed.drop("unreadable")
                return
            # It is the answer to a trigger, whose part has no other.
        else:
            self._standing.good(reading.captured_s, _size_wh(reading))
            if self._standing.state is not SourceState.LIVE:
                self._enter(SourceState.LIVE)
        admission = self._gate.admit(reading.captured_s)
        if admission.reason is not None:
            self._feed.drop(admission.reason)
            return
        number = self._feed.next_number
        self._feed.put(
            Frame(
                name=str(number) if reading.name is None else reading.name,
                image_bgr=reading.image_bgr,
                error=reading.error and mask_credentials(reading.error),
                captured_s=reading.captured_s,
                trigger=admission.trigger,
                decoded_s=reading.decoded_s,
                number=number,
                version=reading.version,
            )
        )

    def _lost(self, error: StreamError) -> StreamError:
        now_s = self._clock.now_s()
        if self._standing.silence(now_s, self._gate.oldest_s()) is not None:
            self._enter(SourceState.STALLED, error.cause, error.detail)
        self._backoff.lived(self._standing.closed())
        if lost := self._gate.forget():
            LOG.warning("camera %s: lost before their frame: %s", self.name, ", ".join(lost))
        return error

    def _disconnect(self) -> None:
        with self._stream_lock:
            stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            stream.close()
        except Exception as error:  # what is lost may fail to close, too
            LOG.warning("camera %s: closing it failed: %s", self.name, masked_line(error))

    def _enter(
        self, state: SourceState, cause: Cause | None = None, detail: str = "", note: str = ""
    ) -> None:
        if state is SourceState.ENDED or not self._closing.is_set():
            self._standing.enter(state, self._clock.now_s(), cause, detail, note)


def _size_wh(reading: Reading) -> tuple[int, int] | None:
    """The size of a stream's frame; files may differ from one to the next."""
    if reading.image_bgr is None or reading.name is not None:
        return None
    return reading.image_bgr.shape[1], reading.image_bgr.shape[0]
