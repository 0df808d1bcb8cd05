"""The line's state as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from zsad.errors import MissingExtraError
from zsad.line.status import Histogram, LineState, LineStatus
from zsad.sinks.pulse import Reading
from zsad.sources.health import SourceHealth, SourceState

if TYPE_CHECKING:
    from prometheus_client import Metric


def render(reading: Reading) -> tuple[bytes, str]:
    """Return the metrics as text, and the text's content type.

    Raises:
        MissingExtraError: prometheus-client is missing.
    """
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    except ImportError:
        raise MissingExtraError("prometheus-client", "line", "the status server") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(reading))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    """One reading, as metric families; labels have few values and none comes with every frame."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "zsad_trusted",
            "Whether verdicts may be acted on.",
            (),
            [((), float(self._reading.trusted))],
        )
        if self._reading.status is not None:
            yield from _line(self._reading.status)
            yield from _cameras(self._reading.status)
            yield from _sinks(self._reading.status)


def _line(status: LineStatus) -> Iterator[Metric]:
    yield _gauge(
        "zsad_line_state",
        "1 for the state that the line is in.",
        ("state",),
        [((state.value,), float(status.state is state)) for state in LineState],
    )
    yield _counter(
        "zsad_engine_heartbeat",
        "Progress of the engine's thread.",
        (),
        [((), status.heartbeat)],
    )
    yield _counter(
        "zsad_verdicts",
        "Committed verdicts.",
        ("verdict",),
        [((name,), count) for name, count in status.verdicts.items()],
    )
    yield _counter(
        "zsad_overruns",
        "Parts whose verdict came after the takt deadline.",
        (),
        [((), status.overruns)],
    )
    yield _counter(
        "zsad_account_breaches",
        "How often the accounts of frames did not hold.",
        (),
        [((), status.breaches)],
    )
    yield _gauge(
        "zsad_alarms", "Drift and parity alarms that are on.", (), [((), len(status.alarms))]
    )
    if status.last is not None:
        yield _gauge(
            "zsad_last_verdict_age_seconds",
            "Age of the newest committed verdict.",
            (),
            [((), status.last.age_s)],
        )
    yield _histogram(status)


def _cameras(status: LineStatus) -> Iterator[Metric]:
    cameras = status.cameras.items()
    yield _gauge(
        "zsad_camera_state",
        "1 for the state that a camera is in.",
        ("camera", "state"),
        [
            ((name, state.value), float(camera.state is state))
            for name, camera in cameras
            for state in SourceState
        ],
    )
    yield _gauge(
        "zsad_camera_frame_age_seconds",
        "Age of a camera's last good frame.",
        ("camera",),
        [((name,), camera.age_s) for name, camera in cameras if camera.age_s is not None],
    )
    yield _counter(
        "zsad_camera_reconnects",
        "How often a camera was opened again.",
        ("camera",),
        [((name,), camera.reconnects) for name, camera in cameras],
    )
    yield _counter(
        "zsad_frames_captured",
        "Frames that a camera gave: taken, dropped or waiting.",
        ("camera",),
        [((name,), camera.counts.captured) for name, camera in cameras],
    )
    yield _counter(
        "zsad_frames_taken",
        "Frames that were handed on to be judged.",
        ("camera",),
        [((name,), camera.counts.taken) for name, camera in cameras],
    )
    yield _counter(
        "zsad_frames_dropped",
        "Frames that were not judged.",
        ("camera", "reason"),
        [
            ((name, reason), count)
            for name, camera in cameras
            for reason, count in _dropped(status, name, camera).items()
        ],
    )
    yield _counter(
        "zsad_frames_judged",
        "Frames that a committed verdict speaks of.",
        ("camera",),
        [((name,), balance.judged) for name, balance in status.accounts.items()],
    )
    yield _gauge(
        "zsad_frames_in_flight",
        "Frames that wait, or are being judged or recorded.",
        ("camera",),
        [((name,), balance.in_flight) for name, balance in status.accounts.items()],
    )
    yield _gauge(
        "zsad_frames_waiting",
        "Frames that lie in a camera's mailbox or queue.",
        ("camera",),
        [((name,), camera.counts.waiting) for name, camera in cameras],
    )


def _dropped(status: LineStatus, name: str, camera: SourceHealth) -> Mapping[str, int]:
    """What the camera and the line dropped, where the line keeps accounts."""
    balance = status.accounts.get(name)
    return camera.counts.dropped if balance is None else balance.dropped


def _sinks(status: LineStatus) -> Iterator[Metric]:
    sinks = status.sinks.items()
    yield _gauge(
        "zsad_sink_up",
        "Whether the last attempt to deliver succeeded.",
        ("sink",),
        [((name,), float(sink.up)) for name, sink in sinks],
    )
    yield _gauge(
        "zsad_sink_backlog",
        "Committed verdicts that a sink has not acknowledged.",
        ("sink",),
        [((name,), sink.backlog) for name, sink in sinks],
    )
    yield _counter(
        "zsad_sink_delivered",
        "Verdicts that a sink acknowledged.",
        ("sink",),
        [((name,), sink.delivered) for name, sink in sinks],
    )
    yield _counter(
        "zsad_sink_parked",
        "Verdicts that a sink refused for good.",
        ("sink",),
        [((name,), sink.parked) for name, sink in sinks],
    )


_Samples = list[tuple[tuple[str, ...], float]]


def _gauge(name: str, said: str, labels: tuple[str, ...], samples: _Samples) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, said, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, said: str, labels: tuple[str, ...], samples: _Samples) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, said, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(status: LineStatus) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "zsad_stage_seconds", "Time after capture at which a stage was over.", labels=("stage",)
    )
    for stage, histogram in status.stages.items():
        family.add_metric((stage,), _buckets(histogram), histogram.sum_ms / 1000)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [repr(bound / 1000) for bound in histogram.bounds_ms]
    return list(zip([*bounds, "+Inf"], accumulate(histogram.counts), strict=True))
