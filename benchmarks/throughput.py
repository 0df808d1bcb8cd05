"""Frames per second over batch sizes and over streams that share a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Barrier

import numpy as np

from zsad.detector import Detector
from zsad.types import ImageU8

ROUNDS = 4
"""Times that all settings take their turn: the spread over them is the noise of a figure."""


@dataclass(frozen=True)
class Throughput:
    """How many frames one graph judges, so many at a time and on so many threads.

    Attributes:
        name: The graph and what runs it.
        batch: Frames of one call.
        streams: Threads that judge at once, each with an engine of its own.
        runs: Timed calls of each stream.
        frames_per_s: Of all streams together: the median over `ROUNDS`.
        lowest, highest: The extremes over `ROUNDS`.
        p50_ms: Median time of one call, while the others run.
        p99_ms: Its 99th percentile.
    """

    name: str
    batch: int
    streams: int
    runs: int
    frames_per_s: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float


class Stream:
    """A thread with a detector of its own, for an engine belongs to the thread that opened it."""

    def __init__(self, open_detector: Callable[[], Detector]) -> None:
        """Start the thread and open the detector on it."""
        self._thread = ThreadPoolExecutor(1)
        try:
            self._detector = self._thread.submit(open_detector).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def warm_up(self, frames: Sequence[ImageU8]) -> None:
        """Judge a batch once: a size met anew may cost more."""
        self._thread.submit(self._detector.predict_batch, frames).result()

    def start(self, frames: Sequence[ImageU8], runs: int, together: Barrier) -> Future[list[float]]:
        """Judge a batch `runs` times once all are ready; gives the milliseconds of each call."""
        return self._thread.submit(self._judge, frames, runs, together)

    def _judge(self, frames: Sequence[ImageU8], runs: int, together: Barrier) -> list[float]:
        together.wait()
        return [self._detector.predict_batch(frames)[0].latency_ms["total"] for _ in range(runs)]

    def close(self) -> None:
        """Free the engine and end the thread."""
        self._thread.submit(self._detector.close).result()
        self._thread.shutdown()


def measure_throughput(
    graphs: Mapping[str, Callable[[], Detector]],
    frames: Sequence[ImageU8],
    batches: Sequence[int],
    streams: Sequence[int],
    runs: int,
) -> tuple[Throughput, ...]:
    """Measure every graph at every batch size and number of streams, in turns.

    Args:
        graphs: Open a detector of each graph; called once per stream, on its thread.
        frames: At least as many as the largest batch, (H, W, 3) uint8 BGR.
        batches: Frames of one call.
        streams: Threads at once.
        runs: Timed calls of each stream, spread over `ROUNDS`.
    """
    each = -(-runs // ROUNDS)
    settings = [(name, batch, count) for name in graphs for batch in batches for count in streams]
    found: dict[tuple[str, int, int], list[tuple[float, list[float]]]] = {s: [] for s in settings}
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(_pool(open_detector, max(streams)))
            for name, open_detector in graphs.items()
        }
        for _ in range(ROUNDS):
            for name, batch, count in settings:
                burst = _burst(pools[name][:count], frames[:batch], each)
                found[name, batch, count].append(burst)
    return tuple(_summary(*setting, each, bursts) for setting, bursts in found.items())


@contextmanager
def _pool(open_detector: Callable[[], Detector], count: int) -> Iterator[list[Stream]]:
    with ExitStack() as stack:
        streams = []
        for _ in range(count):
            streams.append(Stream(open_detector))
            stack.callback(streams[-1].close)
        yield streams


def _burst(
    streams: Sequence[Stream], frames: Sequence[ImageU8], runs: int
) -> tuple[float, list[float]]:
    """Return the seconds until the last stream was done, and the milliseconds of every call."""
    for stream in streams:
        stream.warm_up(frames)
    together = Barrier(len(streams) + 1)
    started = [stream.start(frames, runs, together) for stream in streams]
    together.wait()
    start = time.perf_counter()
    times = [ms for future in started for ms in future.result()]
    return time.perf_counter() - start, times


def _summary(
    name: str, batch: int, streams: int, runs: int, bursts: Sequence[tuple[float, list[float]]]
) -> Throughput:
    rates = [batch * len(times) / seconds for seconds, times in bursts]
    calls = [ms for _, times in bursts for ms in times]
    return Throughput(
        name=name,
        batch=batch,
        streams=streams,
        runs=runs * len(bursts),
        frames_per_s=float(np.median(rates)),
        lowest=min(rates),
        highest=max(rates),
        p50_ms=float(np.percentile(calls, 50)),
        p99_ms=float(np.percentile(calls, 99)),
    )
