"""Verdicts and the line's state on an MQTT broker."""

from __future__ import annotations

import time
from collections.abc import Sequence

from zsad.line.record import VerdictRecord
from zsad.schema import canonical_bytes
from zsad.sinks.base import RefusedError, SinkCause, SinkContext, SinkError
from zsad.sinks.broker import Broker
from zsad.sinks.config import MqttConfig
from zsad.sinks.payload import StatusMessage, offline_message, status_message, verdict_bytes
from zsad.sinks.pulse import Pulse

_SLICE_S = 0.5  # of a delivery, so that the state is told even while a broker is slow
_FAILURE = 0x80
_NOT_THIS_ONE = {0x80, 0x83, 0x99}
"""Reason codes that may be about the message; the others are about us, the topic or the broker."""
_NOT_AUTHORIZED = 0x87
_OVERHEAD = 16  # bytes of a packet beside topic and body


class MqttSink:
    """Publishes verdicts with QoS 1; one is acknowledged when the broker has said so.

    The state is retained and expires, so that whoever subscribes later is never told that a line
    runs which nobody has heard of since. Verdicts are not retained.
    """

    def __init__(self, name: str, config: MqttConfig, context: SinkContext) -> None:
        """Name the sink; the broker is connected to when it is opened.

        Raises:
            InputError: A secret or a certificate cannot be read, the line's name makes no topic, or
                paho-mqtt is missing.
        """
        self.name = name
        self._config = config
        self._line = context.line
        self._pulse = Pulse(context.status, config.stale_s)
        self._topic = config.base_topic(context.line)
        self._broker: Broker | None = None
        self._in_flight: dict[int, int] = {}  # seq to message id
        self._progress_s = 0.0
        self._told: StatusMessage | None = None
        self._told_s = 0.0
        self._make_broker()  # what is wrong with it is to be known at the start

    def open(self) -> None:
        """Connect where there is no connection, answer the broker's pings, tell the state.

        Raises:
            SinkError: The broker cannot be reached or refuses.
        """
        try:
            if self._broker is None:
                self._connect()
            self._serve(0.0)
            self._tell()
        except Exception:
            self._drop()
            raise

    def deliver(self, records: Sequence[VerdictRecord]) -> int:
        """Publish what is not under way yet and return how many of the first are acknowledged.

        Raises:
            RefusedError: The broker takes no message such as one of these.
            SinkError: The connection broke, or the broker acknowledges nothing any more.
        """
        try:
            self._publish_new(records)
            until_s = time.monotonic() + _SLICE_S
            while (taken := self._taken(records)) < len(records):
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    break
                self._serve(left_s)
        except RefusedError:
            raise
        except SinkError:
            taken = self._answered(records)
            self._drop()
            if not taken:
                raise
        except Exception:
            self._drop()
            raise
        for record in records[:taken]:
            self._in_flight.pop(record.seq, None)
        return taken

    def close(self) -> None:
        """Tell that the line is offline, and leave; closing twice does no harm."""
        broker, self._broker = self._broker, None
        if broker is None:
            return
        try:
            body = canonical_bytes(offline_message(self._line, "the line was stopped"))
            broker.publish(f"{self._topic}/status", body, retain=True)
            broker.leave()
        except SinkError:
            broker.drop()

    def _make_broker(self) -> Broker:
        client_id = self._config.client_id or f"zsad-{self._line}-{self.name}"
        will = canonical_bytes(offline_message(self._line, "the connection to the line broke"))
        return Broker(self._config, client_id, (f"{self._topic}/status", will))

    def _connect(self) -> None:
        self._in_flight.clear()
        self._told = None
        broker = self._make_broker()
        try:
            broker.connect()
        except Exception:
            broker.drop()
            raise
        self._broker = broker

    def _drop(self) -> None:
        if self._broker is not None:
            self._broker.drop()
            self._broker = None

    def _connection(self) -> Broker:
        assert self._broker is not None, "this needs open()"
        return self._broker

    def _serve(self, timeout_s: float) -> None:
        broker = self._connection()
        known = broker.count
        broker.serve(timeout_s)
        now_s = time.monotonic()
        if broker.count != known or broker.answers.keys() >= set(self._in_flight.values()):
            self._progress_s = now_s
        elif now_s - self._progress_s > self._config.ack_s:
            raise SinkError(
                SinkCause.TIMEOUT,
                f"broker {broker.address} acknowledged nothing for {self._config.ack_s:g} s",
            )

    def _tell(self) -> None:
        """Publish the state if it changed or the last one is about to grow old."""
        now_s = time.monotonic()
        message = status_message(self._line, self._pulse.read(), self._config.valid_s)
        told = self._told
        # Reasons may hold a number that always changes; they come along when the next one is due.
        same = told is not None and (told.state, told.trusted) == (message.state, message.trusted)
        if same and now_s - self._told_s < self._config.status_s:
            return
        self._connection().publish(
            f"{self._topic}/status",
            canonical_bytes(message),
            retain=True,
            expiry_s=self._config.valid_s,
        )
        self._told, self._told_s = message, now_s

    def _publish_new(self, records: Sequence[VerdictRecord]) -> None:
        broker = self._connection()
        topic = f"{self._topic}/verdict"
        # A gap record stands for records that were under way and are not asked about any more.
        first = records[0].seq
        self._in_flight = {seq: mid for seq, mid in self._in_flight.items() if seq >= first}
        for position, record in enumerate(records):
            if record.seq in self._in_flight:
                continue
            body = verdict_bytes(record)
            size = len(topic) + len(body) + _OVERHEAD
            if broker.max_bytes is not None and size > broker.max_bytes:
                if position:
                    return  # those before it first
                raise RefusedError(
                    0, f"broker {broker.address} takes {broker.max_bytes} bytes, it has {size}"
                )
            self._in_flight[record.seq] = broker.publish(topic, body)

    def _answered(self, records: Sequence[VerdictRecord]) -> int:
        """Return how many of the first the broker has accepted."""
        answers = self._connection().answers
        for position, record in enumerate(records):
            answer = answers.get(self._in_flight.get(record.seq, 0))
            if answer is None or answer >= _FAILURE:
                return position
        return len(records)

    def _taken(self, records: Sequence[VerdictRecord]) -> int:
        """Return how many of the first were accepted; the next one's refusal is an error."""
        broker, taken = self._connection(), self._answered(records)
        if taken == len(records):
            return taken
        mid = self._in_flight.get(records[taken].seq, 0)
        code = broker.answers.get(mid)
        if code is None:
            return taken
        self._in_flight.pop(records[taken].seq)
        what = f"broker {broker.address} refuses {self._topic}/verdict with reason code {code:#x}"
        if code in _NOT_THIS_ONE:
            raise RefusedError(taken, what)
        cause = SinkCause.AUTH if code == _NOT_AUTHORIZED else SinkCause.REFUSED
        raise SinkError(cause, what)
